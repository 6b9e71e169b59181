#include "field.hpp"

namespace llmproxy::config {
namespace {

Field token_file(std::string path, const Field& token)
{
    auto file = field(
        std::move(path), Type::secret_file, "",
        "A file that holds the token, in place of `token`; line ends at its end are cut off.");
    file.set = token.set;
    return file;
}

Field tokens_field()
{
    auto row = field("management.tokens", Type::items, "[]",
                     "Further tokens of the management API, by name in the audit log.");
    row.open = [](Cursor& cursor) {
        cursor.management = &cursor.root->management.tokens.emplace_back();
    };
    row.count = [](Cursor& cursor) { return cursor.root->management.tokens.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.management = &cursor.root->management.tokens.at(index);
    };
    return std::move(row).commented();
}

}  // namespace

void add_management_fields(std::vector<Field>& table)
{
    table.push_back(
        field("management.token", Type::secret, "",
              "Token of the management API, of an admin named `admin`: at least 16 visible ASCII "
              "characters. Without any token the API refuses everybody.")
            .bind([](Cursor & c) -> auto& { return c.root->management.token; })
            .commented("${MANAGEMENT_TOKEN}"));
    table.push_back(token_file("management.token_file", table.back())
                        .commented("/run/secrets/management_token"));
    table.push_back(tokens_field());
    table.push_back(field("management.tokens[].name", Type::string, "",
                          "Unique name of whoever holds the token.")
                        .bind([](Cursor & c) -> auto& { return c.management->name; })
                        .must()
                        .show("finance"));
    table.push_back(field("management.tokens[].token", Type::secret, "", "The token.")
                        .bind([](Cursor & c) -> auto& { return c.management->token; })
                        .show("${FINANCE_TOKEN}"));
    table.push_back(token_file("management.tokens[].token_file", table.back())
                        .commented("/run/secrets/finance_token"));
    table.push_back(one_of("management.tokens[].role", {"admin", "viewer"}, "admin",
                           "`viewer`: may read everything but secrets, and change nothing.")
                        .bind([](Cursor & c) -> auto& { return c.management->role; })
                        .show("viewer"));
}

}  // namespace llmproxy::config
