#include "audit.hpp"
#include "ids.hpp"
#include "llmproxy/core/time_text.hpp"
#include "paging.hpp"
#include "projects.hpp"
#include "route.hpp"

#include <algorithm>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using storage::ProviderKeyRow;

Property secret_field()
{
    return field("key", Kind::text, "The key itself; it is never shown again.")
        .between(1, 4096)
        .checked([](std::string_view text) -> std::string_view {
            const bool visible =
                std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
            return visible ? "" : "visible ASCII characters, without spaces";
        });
}

const Shape& key_shape()
{
    static const Shape shape{
        "ProviderKey",
        "A project's own key for a backend. The key itself cannot be read.",
        {field("id", Kind::text, "").must().like("^key_[1-9][0-9]*$"),
         project_field("project", "Whose it is.").must(), field("backend", Kind::text, "").must(),
         field("name", Kind::text, "Unique among the project's keys for the backend.").must(),
         field("hint", Kind::text, "Its last characters, to recognise it by.").must(),
         field("master_key", Kind::text, "Which master key it is sealed with.").must(),
         field("created_at", Kind::time, "").must(), field("updated_at", Kind::time, "").must(),
         field("version", Kind::integer, "The number in its ETag.").must()}};
    return shape;
}

const Shape& key_list()
{
    static const auto shape = list_of("ProviderKeyList", key_shape());
    return shape;
}

const Shape& create_shape()
{
    static const Shape shape{
        "ProviderKeyCreate",
        "A new provider key.",
        {project_field("project", "Whose it is.").must(),
         name_field("backend", "The name of a backend.").must(),
         name_field("name", "Unique among the project's keys for the backend.").must(),
         secret_field().must()}};
    return shape;
}

const Shape& update_shape()
{
    static const Shape shape{
        "ProviderKeyUpdate", "Another key in its place.", {secret_field().must()}};
    return shape;
}

const Shape& resealed_shape()
{
    static const Shape shape{
        "Resealed",
        "What sealing keys anew came to.",
        {field("resealed", Kind::integer, "Keys that were sealed with an older master key.").must(),
         field("current", Kind::integer, "Keys that were sealed with the current one.").must()}};
    return shape;
}

Json show(const ProviderKeyRow& row)
{
    Json shown = Json::object();
    shown["id"] = key_text(row.id);
    shown["project"] = to_text(row.project);
    shown["backend"] = row.backend;
    shown["name"] = row.name;
    shown["hint"] = row.hint;
    shown["master_key"] = row.master_key;
    shown["created_at"] = core::to_text(row.created);
    shown["updated_at"] = core::to_text(row.updated);
    shown["version"] = row.version;
    return shown;
}

/// What the audit log keeps.
Json brief(const ProviderKeyRow& row)
{
    Json shown = Json::object();
    shown["project"] = to_text(row.project);
    shown["backend"] = row.backend;
    shown["name"] = row.name;
    shown["hint"] = row.hint;
    return shown;
}

Reply answer(const ProviderKeyRow& row, unsigned status = 200)
{
    Reply reply(show(row), status);
    reply.fields = etag(row.version);
    return reply;
}

Failure no_vault()
{
    return Failure(Errc::conflict, Origin::self, "no store.encryption_key")
        .say("Provider keys need a master key to be sealed with (store.encryption_key).");
}

core::Result<void> seal(const ManageParts& parts, ProviderKeyRow& row, const Json& body)
{
    if (!parts.vault) {
        return no_vault();
    }
    return parts.vault->seal(row, core::Secret(body["key"].get<std::string>()));
}

core::Task<core::Result<ProviderKeyRow>> find_key(ManageParts& parts, std::string id)
{
    const auto parsed = parse_key(id);
    Failure missing(Errc::not_found, Origin::client, "no such provider key");
    missing.say("There is no such provider key.");
    if (!parsed) {
        co_return missing;
    }
    auto row = co_await parts.store->provider_key(*parsed);
    if (!row) {
        co_return row.error();
    }
    if (!*row) {
        co_return missing;
    }
    co_return std::move(**row);
}

core::Task<core::Result<Reply>> list_keys(ManageParts& parts, Call& call)
{
    std::optional<core::ProjectId> project;
    if (const auto text = call.parameter<std::string>("project")) {
        project = parse_project(*text);
    }
    auto page = co_await parts.store->provider_keys(project, page_of(call));
    if (!page) {
        co_return page_failure(page.error(), call);
    }
    co_return page_reply(*page, show);
}

core::Task<core::Result<Reply>> put_key(ManageParts& parts, ProviderKeyRow row,
                                        storage::AuditRow audit, unsigned status)
{
    auto kept = co_await parts.store->put_provider_key(std::move(row), std::move(audit));
    if (!kept) {
        co_return change_failure(kept.error());
    }
    announce(parts, kept->project);
    co_return answer(*kept, status);
}

core::Task<core::Result<Reply>> create_key(ManageParts& parts, Call& call)
{
    ProviderKeyRow row;
    row.project = *parse_project(call.body["project"].get<std::string>());
    row.backend = call.body["backend"].get<std::string>();
    row.name = call.body["name"].get<std::string>();
    row.created = row.updated = call.now;
    if (!parts.backends()->by_name(row.backend)) {
        co_return bad_field("backend", "the name of a backend in use");
    }
    const auto sealed = seal(parts, row, call.body);
    if (!sealed) {
        co_return sealed.error();
    }
    auto audit = audit_row(call, "provider_key.create", "provider_key", "", nullptr, brief(row));
    co_return co_await put_key(parts, std::move(row), std::move(audit), 201);
}

core::Task<core::Result<Reply>> get_key(ManageParts& parts, Call& call)
{
    auto row = co_await find_key(parts, call.path[0]);
    if (!row) {
        co_return row.error();
    }
    co_return answer(*row);
}

core::Task<core::Result<Reply>> update_key(ManageParts& parts, Call& call)
{
    auto found = co_await find_key(parts, call.path[0]);
    if (!found) {
        co_return found.error();
    }
    const auto allowed = call.if_match.check(found->version);
    if (!allowed) {
        co_return allowed.error();
    }
    auto row = std::move(*found);
    const auto before = brief(row);
    row.updated = call.now;
    const auto sealed = seal(parts, row, call.body);
    if (!sealed) {
        co_return sealed.error();
    }
    auto audit = audit_row(call, "provider_key.update", "provider_key", std::to_string(row.id),
                           before, brief(row));
    co_return co_await put_key(parts, std::move(row), std::move(audit), 200);
}

/// What one pass over all keys came to.
struct Resealed {
    std::int64_t resealed = 0;
    std::int64_t current = 0;  ///< needed nothing
};

core::Task<core::Result<Resealed>> reseal_all(ManageParts& parts, const Call& call)
{
    Resealed counts;
    std::vector<ProviderKeyRow> changed;
    storage::PageRequest page(static_cast<std::uint32_t>(kMostPerPage));
    do {
        auto rows = co_await parts.store->provider_keys(std::nullopt, page);
        if (!rows) {
            co_return rows.error();
        }
        for (auto& row : rows->rows) {
            if (parts.vault->is_current(row)) {
                ++counts.current;
                continue;
            }
            if (const auto sealed = parts.vault->reseal(row); !sealed) {
                co_return Failure(Errc::conflict, Origin::self, sealed.error().describe())
                    .say("The key " + key_text(row.id) +
                         " is sealed with a master key that is not in store.old_encryption_keys.");
            }
            row.updated = call.now;
            changed.push_back(std::move(row));
        }
        page.cursor = std::move(rows->next);
    } while (!page.cursor.empty());
    counts.resealed = static_cast<std::int64_t>(changed.size());
    if (!changed.empty()) {
        const Json outcome{{"resealed", counts.resealed}};
        auto audit =
            audit_row(call, "provider_key.reseal", "provider_key", "all", nullptr, outcome);
        auto written =
            co_await parts.store->replace_provider_keys(std::move(changed), std::move(audit));
        if (!written) {
            co_return change_failure(written.error());
        }
    }
    co_return counts;
}

core::Task<core::Result<Reply>> reseal_keys(ManageParts& parts, Call& call)
{
    if (!parts.vault) {
        co_return no_vault();
    }
    // A key that somebody changes meanwhile is found as it is then.
    constexpr int kTries = 5;
    for (int i = 1;; ++i) {
        auto counts = co_await reseal_all(parts, call);
        if (counts) {
            Json body = Json::object();
            body["resealed"] = counts->resealed;
            body["current"] = counts->current;
            co_return Reply(std::move(body));
        }
        if (counts.error().errc() != Errc::precondition_failed || i == kTries) {
            co_return counts.error();
        }
    }
}

core::Task<core::Result<Reply>> delete_key(ManageParts& parts, Call& call)
{
    Reply gone;
    gone.status = 204;
    auto row = co_await find_key(parts, call.path[0]);
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
    auto audit = audit_row(call, "provider_key.delete", "provider_key", std::to_string(row->id),
                           brief(*row), nullptr);
    auto removed = co_await parts.store->remove_provider_key(row->id, std::move(audit));
    if (!removed) {
        co_return removed.error();
    }
    announce(parts, row->project);
    co_return gone;
}

}  // namespace

void add_key_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::get, "/manage/keys", "listKeys", "provider keys",
                          "The provider keys of all projects, or of one.", list_keys)
                        .gives(key_list())
                        .with(paged({project_field("project", "Only those of this one.")})));
    table.push_back(route(http::Verb::post, "/manage/keys", "createKey", "provider keys",
                          "Give a project a key of its own for a backend.", create_key)
                        .takes(create_shape())
                        .gives(key_shape(), 201)
                        .tagged()
                        .conflicting());
    table.push_back(route(http::Verb::get, "/manage/keys/{key}", "getKey", "provider keys",
                          "One provider key, without the key itself.", get_key)
                        .gives(key_shape())
                        .tagged());
    table.push_back(route(http::Verb::patch, "/manage/keys/{key}", "updateKey", "provider keys",
                          "Put another key in its place.", update_key)
                        .takes(update_shape())
                        .gives(key_shape())
                        .tagged()
                        .if_match()
                        .conflicting());
    table.push_back(route(http::Verb::post, "/manage/keys/reseal", "resealKeys", "provider keys",
                          "Seal all keys anew with the current master key, all or none.",
                          reseal_keys)
                        .gives(resealed_shape())
                        .conflicting());
    auto remove = route(http::Verb::delete_, "/manage/keys/{key}", "deleteKey", "provider keys",
                        "Delete a provider key.", delete_key);
    remove.status = 204;
    table.push_back(std::move(remove));
}

}  // namespace llmproxy::handlers::manage
