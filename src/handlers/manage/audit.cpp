#include "audit.hpp"

#include "ids.hpp"
#include "llmproxy/core/time_text.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "paging.hpp"
#include "route.hpp"

namespace llmproxy::handlers::manage {
namespace {

const Shape& audit_shape()
{
    static const Shape shape{
        "AuditEntry",
        "A change that somebody made.",
        {field("id", Kind::integer, "Ascending.").must(), field("time", Kind::time, "").must(),
         field("actor", Kind::text, "Name of the management token.").must(),
         field("source", Kind::text, "Address that it came from.").must(),
         field("action", Kind::text, "E.g. `project.create`.").must(),
         field("target_kind", Kind::text, "What was changed, e.g. `project`.").must(),
         field("target", Kind::text, "Its id or name.").must(),
         field("before", Kind::anything, "As it was; null: not there.").must(),
         field("after", Kind::anything, "As it is now; null: gone.").must()}};
    return shape;
}

const Shape& audit_list()
{
    static const auto shape = list_of("AuditEntryList", audit_shape());
    return shape;
}

Json value_of(const std::string& text)
{
    if (text.empty()) {
        return nullptr;
    }
    auto value = Json::parse(text, nullptr, false);
    return value.is_discarded() ? Json(text) : value;
}

Json show(const storage::AuditRow& row)
{
    Json shown = Json::object();
    shown["id"] = row.id;
    shown["time"] = core::to_text(row.time);
    shown["actor"] = row.actor;
    shown["source"] = row.source;
    shown["action"] = row.action;
    shown["target_kind"] = row.target_kind;
    shown["target"] = shown_target(row.target_kind, row.target);
    shown["before"] = value_of(row.before);
    shown["after"] = value_of(row.after);
    return shown;
}

core::Task<core::Result<Reply>> list_audit(ManageParts& parts, Call& call)
{
    storage::AuditFilter filter;
    filter.from = time_parameter(call, "from").value_or(core::SystemTime());
    filter.to = time_parameter(call, "to").value_or(core::SystemTime::max());
    filter.actor = call.parameter<std::string>("actor");
    filter.action = call.parameter<std::string>("action");
    filter.target_kind = call.parameter<std::string>("target_kind");
    if (const auto target = call.parameter<std::string>("target")) {
        filter.target = stored_target(*target);
    }
    const bool oldest_first = call.parameter<std::string>("order") == "oldest";
    auto page = co_await parts.store->audit(std::move(filter), page_of(call, !oldest_first));
    if (!page) {
        co_return page_failure(page.error(), call);
    }
    co_return page_reply(*page, show);
}

}  // namespace

storage::AuditRow audit_row(const Call& call, std::string_view action, std::string_view target_kind,
                            std::string target, const Json& before, const Json& after)
{
    storage::AuditRow row;
    row.time = call.now;
    row.actor = call.actor.name;
    row.source = call.actor.source;
    row.action = action;
    row.target_kind = target_kind;
    row.target = std::move(target);
    row.before = before.is_null() ? std::string() : to_text(before);
    row.after = after.is_null() ? std::string() : to_text(after);
    return row;
}

core::Task<void> note_change(ManageParts& parts, storage::AuditRow row)
{
    const auto action = row.action;
    const auto target = row.target;
    const auto actor = row.actor;
    auto& log = telemetry::log("manage");
    if (!parts.store) {
        log.info({}, "changed, without a store for the audit log",
                 {{"action", action}, {"target", target}, {"actor", actor}});
        co_return;
    }
    auto written = co_await parts.store->append_audit(std::move(row));
    if (!written) {
        log.error({}, "a change could not be written to the audit log",
                  {{"action", action},
                   {"target", target},
                   {"actor", actor},
                   {"error", written.error().describe()}});
    }
}

void add_audit_routes(std::vector<Route>& table)
{
    table.push_back(
        route(http::Verb::get, "/manage/audit", "listAudit", "audit",
              "Who changed what, and when; the newest first.", list_audit)
            .gives(audit_list())
            .with(paged({
                field("from", Kind::time, "From then on."),
                field("to", Kind::time, "Before then."),
                field("actor", Kind::text, "By that management token.").between(1, 200),
                field("action", Kind::text, "E.g. `token.revoke`.").between(1, 200),
                field("target_kind", Kind::text, "E.g. `token`.").between(1, 200),
                field("target", Kind::text, "The id or name of what was changed.").between(1, 200),
                field("order", Kind::text, "`newest` first if not given.")
                    .one_of({"newest", "oldest"}),
            })));
}

}  // namespace llmproxy::handlers::manage
