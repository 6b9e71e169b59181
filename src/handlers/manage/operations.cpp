#include "audit.hpp"
#include "llmproxy/core/time_text.hpp"
#include "llmproxy/version.hpp"
#include "openapi.hpp"
#include "route.hpp"

#include <algorithm>
#include <filesystem>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

constexpr std::string_view kBackupPath =
    "a relative path of letters, digits, '.', '_' and '-', no part beginning with '.'";

const Shape& store_shape()
{
    static const Shape shape{
        "Store",
        "How the store is.",
        {field("state", Kind::text, "`ok`, or what is wrong.").must(),
         field("reason", Kind::text, "Empty when ok.").must(),
         field("queued", Kind::integer, "Writes that wait now.").must(),
         field("unsettled", Kind::integer, "Requests whose usage waits for the store to work.")
             .must(),
         field("reservations", Kind::integer, "Requests under way that are accounted for.").must(),
         field("commits", Kind::integer, "Transactions since the start.").must(),
         field("writes", Kind::integer, "What they held.").must(),
         field("failures", Kind::integer, "Transactions that failed.").must(),
         field("commit_ms", Kind::number, "Time spent in transactions.").must(),
         field("indeterminate", Kind::integer, "Requests whose end nobody saw.").must()}};
    return shape;
}

const Shape& reload_shape()
{
    static const Shape shape{
        "Reload",
        "What a reload came to.",
        {field("warnings", Kind::text, "About the configuration.").must().list(10'000),
         field("needs_restart", Kind::text, "Changed keys that wait for the next start.")
             .must()
             .list(10'000)}};
    return shape;
}

const Shape& backup_request()
{
    static const Shape shape{
        "BackupRequest",
        "Where to put a copy of the store.",
        {field("path", Kind::text,
               "Below the folder of the store; nothing may be there. If not given: "
               "`backup-<time>.db`.")
             .between(1, 200)
             .checked([](std::string_view path) -> std::string_view {
                 const auto fine = [](char c) {
                     return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
                 };
                 const bool plain = std::all_of(path.begin(), path.end(), fine);
                 const bool hidden = ("/" + std::string(path)).find("/.") != std::string::npos;
                 const bool empty_part =
                     ("/" + std::string(path) + "/").find("//") != std::string::npos;
                 return plain && !hidden && !empty_part ? "" : kBackupPath;
             })}};
    return shape;
}

const Shape& backup_shape()
{
    static const Shape shape{"Backup",
                             "A copy of the store.",
                             {field("path", Kind::text, "Below the folder of the store.").must()}};
    return shape;
}

core::Task<core::Result<Reply>> get_openapi(ManageParts&, Call&)
{
    co_return Reply(openapi_document(kVersion));
}

core::Task<core::Result<Reply>> get_store(ManageParts& parts, Call&)
{
    const auto health = parts.store->health();
    const auto stats = parts.store->stats();
    Json body = Json::object();
    body["state"] = storage::word_of(health.state);
    body["reason"] = health.reason;
    body["queued"] = stats.queued;
    body["unsettled"] = stats.unsettled;
    body["reservations"] = stats.reservations;
    body["commits"] = stats.commits;
    body["writes"] = stats.writes;
    body["failures"] = stats.failures;
    body["commit_ms"] = static_cast<double>(stats.commit_nanoseconds) / 1e6;
    body["indeterminate"] = stats.indeterminate;
    co_return Reply(std::move(body));
}

core::Task<core::Result<Reply>> reload(ManageParts& parts, Call& call)
{
    auto report = co_await parts.reload();
    Json outcome = Json::object();
    outcome["ok"] = report.problems.empty();
    auto row = audit_row(call, "config.reload", "config", "", nullptr, outcome);
    co_await note_change(parts, std::move(row));
    if (!report.problems.empty()) {
        std::string message = "The configuration was refused, the running one stays:";
        for (const auto& problem : report.problems) {
            message += "\n" + problem;
        }
        co_return Failure(Errc::conflict, Origin::client, "refused configuration").say(message);
    }
    Json body = Json::object();
    body["warnings"] = std::move(report.warnings);
    body["needs_restart"] = std::move(report.needs_restart);
    co_return Reply(std::move(body));
}

/// `20260131T123456Z`.
std::string compact_time(core::SystemTime time)
{
    auto text = core::to_text(time).substr(0, 19);
    std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
    return text + "Z";
}

core::Task<core::Result<Reply>> backup(ManageParts& parts, Call& call)
{
    const std::filesystem::path store(parts.store_path);
    const auto path = call.body.value("path", "backup-" + compact_time(call.now) + ".db");
    const auto own = store.filename().string();
    if (path == own || path.starts_with(own + "-")) {
        co_return bad_field("path", "another name than those of the store's own files");
    }
    const auto target = (store.parent_path() / path).string();
    auto made = co_await parts.store->backup(target);
    if (!made) {
        co_return made.error().errc() == Errc::conflict
            ? made.error().say("There is a file of this name already.").at("path")
            : made.error();
    }
    Json body = Json::object();
    body["path"] = path;
    auto row = audit_row(call, "store.backup", "store", "", nullptr, body);
    co_await note_change(parts, std::move(row));
    co_return Reply(std::move(body), 201);
}

}  // namespace

void add_operation_routes(std::vector<Route>& table)
{
    auto document = route(http::Verb::get, "/manage/openapi.json", "getOpenApi", "operation",
                          "This document.", get_openapi)
                        .without_store();
    document.media = {"application/json"};
    table.push_back(std::move(document));
    table.push_back(route(http::Verb::get, "/manage/store", "getStore", "operation",
                          "How the store is.", get_store)
                        .gives(store_shape()));
    table.push_back(route(http::Verb::post, "/manage/reload", "reload", "operation",
                          "Read the configuration and the certificates again.", reload)
                        .gives(reload_shape())
                        .conflicting()
                        .without_store());
    auto copy = route(http::Verb::post, "/manage/backup", "backup", "operation",
                      "Copy the store while it works.", backup)
                    .takes(backup_request())
                    .gives(backup_shape(), 201)
                    .conflicting();
    copy.body_optional = true;
    table.push_back(std::move(copy));
}

}  // namespace llmproxy::handlers::manage
