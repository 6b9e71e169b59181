#include "audit.hpp"
#include "grants.hpp"
#include "ids.hpp"
#include "llmproxy/accounts/token_text.hpp"
#include "llmproxy/core/time_text.hpp"
#include "paging.hpp"
#include "projects.hpp"
#include "route.hpp"

#include <iterator>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using storage::TokenRow;

std::vector<Property> with_grants(std::vector<Property> fields, std::vector<Property> grants)
{
    std::move(grants.begin(), grants.end(), std::back_inserter(fields));
    return fields;
}

Property expiry_field()
{
    return field("expires_at", Kind::time, "From then on it is refused; null: never.").or_null();
}

std::vector<Property> shown_fields()
{
    auto fields = with_grants(
        {token_field("id", "").must(), project_field("project", "Whose it is.").must(),
         field("name", Kind::text, "Unique in its project.").must(),
         field("prefix", Kind::text, "How it begins, to recognise it by.").must(),
         field("status", Kind::text, "").must().one_of({"active", "expired", "revoked"})},
        shown_grant_fields());
    fields.push_back(field("created_at", Kind::time, "").must());
    fields.push_back(field("updated_at", Kind::time, "").must());
    fields.push_back(expiry_field().must());
    fields.push_back(field("revoked_at", Kind::time, "").must().or_null());
    fields.push_back(field("version", Kind::integer, "The number in its ETag.").must());
    return fields;
}

const Shape& token_shape()
{
    static const Shape shape{"Token", "What clients show; its text is kept nowhere.",
                             shown_fields()};
    return shape;
}

const Shape& new_token_shape()
{
    static const auto shape = [] {
        Shape made{"NewToken", "A token just made.", shown_fields()};
        made.properties.push_back(
            field("secret", Kind::text, "The token itself; it is shown only now.").must());
        return made;
    }();
    return shape;
}

const Shape& token_list()
{
    static const auto shape = list_of("TokenList", token_shape());
    return shape;
}

const Shape& create_shape()
{
    static const Shape shape{
        "TokenCreate", "A new token.",
        with_grants({project_field("project", "Whose it is.").must(),
                     name_field("name", "Unique in its project.").must(), expiry_field()},
                    grant_fields())};
    return shape;
}

const Shape& update_shape()
{
    static const Shape shape{
        "TokenUpdate", "What is to change; the rest stays.",
        with_grants({name_field("name", "Unique in its project."), expiry_field()},
                    grant_fields())};
    return shape;
}

std::string_view status_of(const TokenRow& row, core::SystemTime now)
{
    if (row.revoked) {
        return "revoked";
    }
    return row.expires && *row.expires <= now ? "expired" : "active";
}

Json show(const TokenRow& row, core::SystemTime now)
{
    Json shown = Json::object();
    shown["id"] = to_text(row.id);
    shown["project"] = to_text(row.project);
    shown["name"] = row.name;
    shown["prefix"] = row.prefix;
    shown["status"] = status_of(row, now);
    put_grants(shown, row.grants);
    shown["created_at"] = core::to_text(row.created);
    shown["updated_at"] = core::to_text(row.updated);
    shown["expires_at"] = time_or_null(row.expires);
    shown["revoked_at"] = time_or_null(row.revoked);
    shown["version"] = row.version;
    return shown;
}

/// What the audit log keeps.
Json brief(const TokenRow& row)
{
    Json shown = Json::object();
    shown["project"] = to_text(row.project);
    shown["name"] = row.name;
    shown["prefix"] = row.prefix;
    put_grants(shown, row.grants);
    shown["expires_at"] = time_or_null(row.expires);
    shown["revoked_at"] = time_or_null(row.revoked);
    return shown;
}

std::string number_of(core::TokenId id)
{
    return std::to_string(static_cast<std::int64_t>(id));
}

void read_token(const Json& body, TokenRow& row)
{
    row.name = body.value("name", row.name);
    read_grants(body, row.grants);
    const auto expires = body.find("expires_at");
    if (expires != body.end()) {
        row.expires =
            expires->is_null() ? std::nullopt : core::parse_time(expires->get<std::string>());
    }
}

Reply answer(const TokenRow& row, core::SystemTime now, unsigned status = 200)
{
    Reply reply(show(row, now), status);
    reply.fields = etag(row.version);
    return reply;
}

core::Task<core::Result<Reply>> list_tokens(ManageParts& parts, Call& call)
{
    std::optional<core::ProjectId> project;
    if (const auto text = call.parameter<std::string>("project")) {
        project = parse_project(*text);
    }
    auto page = co_await parts.store->tokens(project, page_of(call));
    if (!page) {
        co_return page_failure(page.error(), call);
    }
    co_return page_reply(*page, [&call](const TokenRow& row) { return show(row, call.now); });
}

core::Task<core::Result<Reply>> create_token(ManageParts& parts, Call& call)
{
    const auto fresh = accounts::make_token();
    TokenRow row;
    row.project = *parse_project(call.body["project"].get<std::string>());
    row.hash = fresh.hash;
    row.prefix = fresh.prefix;
    row.created = row.updated = call.now;
    read_token(call.body, row);
    auto audit = audit_row(call, "token.create", "token", "", nullptr, brief(row));
    auto made = co_await parts.store->put_token(std::move(row), std::move(audit));
    if (!made) {
        co_return change_failure(made.error());
    }
    auto reply = answer(*made, call.now, 201);
    reply.body["secret"] = fresh.text.reveal();
    http::append_field(reply.fields, "Location", "/manage/tokens/" + to_text(made->id));
    co_return reply;
}

core::Task<core::Result<Reply>> get_token(ManageParts& parts, Call& call)
{
    auto row = co_await find_token(parts, call.path[0]);
    if (!row) {
        co_return row.error();
    }
    co_return answer(*row, call.now);
}

core::Task<core::Result<Reply>> change_token(ManageParts& parts, const Call& call, TokenRow row,
                                             std::string_view action, Json before)
{
    row.updated = call.now;
    auto audit = audit_row(call, action, "token", number_of(row.id), before, brief(row));
    auto changed = co_await parts.store->put_token(std::move(row), std::move(audit));
    if (!changed) {
        co_return change_failure(changed.error());
    }
    announce(parts, changed->id, status_of(*changed, call.now) == "active");
    co_return answer(*changed, call.now);
}

core::Task<core::Result<Reply>> update_token(ManageParts& parts, Call& call)
{
    auto found = co_await find_token(parts, call.path[0]);
    if (!found) {
        co_return found.error();
    }
    const auto allowed = call.if_match.check(found->version);
    if (!allowed) {
        co_return allowed.error();
    }
    auto before = brief(*found);
    read_token(call.body, *found);
    co_return co_await change_token(parts, call, std::move(*found), "token.update",
                                    std::move(before));
}

core::Task<core::Result<Reply>> revoke_token(ManageParts& parts, Call& call)
{
    // Somebody else's change of the same token must not keep it from being revoked.
    constexpr int kTries = 10;
    for (int i = 1;; ++i) {
        auto found = co_await find_token(parts, call.path[0]);
        if (!found) {
            co_return found.error();
        }
        if (found->revoked) {
            announce(parts, found->id, false);
            co_return answer(*found, call.now);
        }
        auto before = brief(*found);
        found->revoked = call.now;
        auto changed = co_await change_token(parts, call, std::move(*found), "token.revoke",
                                             std::move(before));
        if (changed || changed.error().errc() != Errc::precondition_failed || i == kTries) {
            co_return changed;
        }
    }
}

core::Task<core::Result<Reply>> delete_token(ManageParts& parts, Call& call)
{
    Reply gone;
    gone.status = 204;
    auto row = co_await find_token(parts, call.path[0]);
    if (!row) {
        if (row.error().errc() == Errc::not_found) {
            co_return gone;
        }
        co_return row.error();
    }
    const auto allowed = call.if_match.check(row->version);
    if (!allowed) {
        co_return allowed.error();
    }
    const auto id = row->id;
    auto audit = audit_row(call, "token.delete", "token", number_of(id), brief(*row), nullptr);
    auto removed = co_await parts.store->remove_token(id, std::move(audit));
    if (!removed) {
        co_return removed.error();
    }
    announce(parts, id, false);
    co_return gone;
}

}  // namespace

core::Task<core::Result<TokenRow>> find_token(ManageParts& parts, std::string id)
{
    const auto parsed = parse_token(id);
    Failure missing(Errc::not_found, Origin::client, "no such token");
    missing.say("There is no such token.");
    if (!parsed) {
        co_return missing;
    }
    auto row = co_await parts.store->token(*parsed);
    if (!row) {
        co_return row.error();
    }
    if (!*row) {
        co_return missing;
    }
    co_return std::move(**row);
}

void add_token_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::get, "/manage/tokens", "listTokens", "tokens",
                          "The tokens of all projects, or of one; the oldest first.", list_tokens)
                        .gives(token_list())
                        .with(paged({project_field("project", "Only those of this one.")})));
    table.push_back(route(http::Verb::post, "/manage/tokens", "createToken", "tokens",
                          "Make a token. Only this answer holds its text.", create_token)
                        .takes(create_shape())
                        .gives(new_token_shape(), 201)
                        .tagged()
                        .conflicting());
    table.push_back(route(http::Verb::get, "/manage/tokens/{token}", "getToken", "tokens",
                          "One token.", get_token)
                        .gives(token_shape())
                        .tagged());
    table.push_back(route(http::Verb::patch, "/manage/tokens/{token}", "updateToken", "tokens",
                          "Change a token; takes effect at once.", update_token)
                        .takes(update_shape())
                        .gives(token_shape())
                        .tagged()
                        .if_match()
                        .conflicting());
    table.push_back(route(http::Verb::post, "/manage/tokens/{token}/revoke", "revokeToken",
                          "tokens",
                          "Refuse a token from now on, and end what it has open. It stays in the "
                          "list.",
                          revoke_token)
                        .gives(token_shape())
                        .tagged());
    auto remove = route(http::Verb::delete_, "/manage/tokens/{token}", "deleteToken", "tokens",
                        "Delete a token, and end what it has open; its usage stays.", delete_token);
    remove.status = 204;
    table.push_back(std::move(remove));
}

}  // namespace llmproxy::handlers::manage
