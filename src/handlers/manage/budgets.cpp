#include "audit.hpp"
#include "ids.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/core/time_text.hpp"
#include "paging.hpp"
#include "projects.hpp"
#include "route.hpp"
#include "subjects.hpp"

#include <algorithm>
#include <set>

namespace llmproxy::handlers::manage {
namespace {

using storage::BudgetRow;
using storage::LedgerRow;
using storage::PeriodKind;

PeriodKind period_named(const std::string& word)
{
    const auto found = std::find(kPeriodWords.begin(), kPeriodWords.end(), word);
    return static_cast<PeriodKind>(found - kPeriodWords.begin() + 1);
}

Property period_field()
{
    return field("period", Kind::text, "Of the calendar, in UTC; weeks begin on Monday.")
        .one_of({kPeriodWords.begin(), kPeriodWords.end()});
}

std::vector<Property> budget_fields(bool shown)
{
    std::vector<Property> fields{
        period_field(),
        field("cost_usd", Kind::usd, "The most that may be spent in it; null: no bound.").or_null(),
        field("tokens", Kind::integer, "The most tokens, prompts and completions; null: no bound.")
            .or_null(),
        field("soft_percents", Kind::integer, "Reaching so much of it is an event.")
            .between(1, 100)
            .list(10)};
    for (auto& one : fields) {
        one.required = shown || one.name == "period";
    }
    return fields;
}

const Shape& budget_shape(bool shown)
{
    static const Shape asked{"BudgetUpdate", "What may be spent in each period of a kind.",
                             budget_fields(false)};
    static const Shape given{"Budget", "What may be spent in each period of a kind.",
                             budget_fields(true)};
    return shown ? given : asked;
}

const Shape& budgets_shape(bool shown)
{
    static const Shape asked{
        "BudgetsUpdate",
        "All budgets; they take the place of those that were there.",
        {object("budgets", budget_shape(false), "One for each period at most.").must().list(4)}};
    static const Shape given{
        "Budgets", "All budgets.", {object("budgets", budget_shape(true), "").must().list(4)}};
    return shown ? given : asked;
}

const Shape& spend_shape()
{
    static const Shape shape{
        "Spend",
        "What was spent in a period.",
        {period_field().must(), field("start", Kind::time, "").must(),
         field("end", Kind::time, "Null: it never ends.").must().or_null(),
         field("cost_usd", Kind::usd, "").must(), field("tokens", Kind::integer, "").must(),
         field("requests", Kind::integer, "").must(),
         field("reserved_usd", Kind::usd,
               "What requests under way may cost; this and what follows only of current periods."),
         field("reserved_tokens", Kind::integer, ""),
         field("limit_usd", Kind::usd, "The budget; null: no bound.").or_null(),
         field("limit_tokens", Kind::integer, "").or_null()}};
    return shape;
}

const Shape& spend_list()
{
    static const auto shape = list_of("SpendList", spend_shape());
    return shape;
}

Json show(const BudgetRow& row)
{
    Json shown = Json::object();
    shown["period"] = word_of(row.period);
    shown["cost_usd"] = row.cost ? Json(core::to_text(*row.cost)) : Json(nullptr);
    shown["tokens"] = row.tokens ? Json(*row.tokens) : Json(nullptr);
    shown["soft_percents"] = row.soft_percents;
    return shown;
}

Json show(const std::vector<BudgetRow>& rows)
{
    Json body = Json::object();
    auto& list = body["budgets"] = Json::array();
    for (const auto& row : rows) {
        list.push_back(show(row));
    }
    return body;
}

Json show(const LedgerRow& row)
{
    const auto& period = row.key.period;
    Json shown = Json::object();
    shown["period"] = word_of(period.kind);
    shown["start"] = core::to_text(period.start);
    shown["end"] = period.kind == PeriodKind::total ? Json(nullptr)
                                                    : Json(core::to_text(storage::end_of(period)));
    shown["cost_usd"] = core::to_text(row.spent.cost);
    shown["tokens"] = row.spent.tokens;
    shown["requests"] = row.spent.requests;
    return shown;
}

BudgetRow read_budget(const Json& body)
{
    BudgetRow row;
    row.period = period_named(body["period"].get<std::string>());
    const auto cost = body.find("cost_usd");
    if (cost != body.end() && !cost->is_null()) {
        row.cost = core::parse_usd(cost->is_string() ? cost->get<std::string>() : cost->dump());
    }
    const auto tokens = body.find("tokens");
    if (tokens != body.end() && !tokens->is_null()) {
        row.tokens = tokens->get<std::int64_t>();
    }
    const auto soft = body.find("soft_percents");
    if (soft != body.end()) {
        const auto percents = soft->get<std::set<std::uint8_t>>();
        row.soft_percents.assign(percents.begin(), percents.end());
    }
    return row;
}

core::Result<std::vector<BudgetRow>> read_budgets(const Json& body)
{
    std::vector<BudgetRow> rows;
    std::set<PeriodKind> periods;
    for (const auto& one : body["budgets"]) {
        auto row = read_budget(one);
        const auto path = "budgets[" + std::to_string(rows.size()) + "]";
        if (!periods.insert(row.period).second) {
            return bad_field(path + ".period", "another one than those before it");
        }
        if (!row.cost && !row.tokens) {
            return bad_field(path + ".cost_usd", "given, or tokens");
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

core::Task<core::Result<Reply>> get_budgets(ManageParts& parts, Call& call)
{
    // The version first: should the budgets change in between, a change that begins from it is refused.
    auto at = co_await find_subject(parts, call);
    if (!at) {
        co_return at.error();
    }
    auto rows = co_await parts.store->budgets(at->subject);
    if (!rows) {
        co_return rows.error();
    }
    Reply reply(show(*rows));
    reply.fields = etag(at->version);
    co_return reply;
}

core::Task<core::Result<Reply>> set_budgets(ManageParts& parts, Call& call)
{
    auto rows = read_budgets(call.body);
    if (!rows) {
        co_return rows.error();
    }
    auto at = co_await find_subject(parts, call);
    if (!at) {
        co_return at.error();
    }
    const auto allowed = call.if_match.check(at->version);
    if (!allowed) {
        co_return allowed.error();
    }
    auto before = co_await parts.store->budgets(at->subject);
    if (!before) {
        co_return before.error();
    }
    Reply reply(show(*rows));
    auto audit =
        audit_row(call, std::string(kind_of(at->subject)) + ".budgets", kind_of(at->subject),
                  std::to_string(at->subject.id), show(*before), reply.body);
    auto version = co_await parts.store->set_budgets(at->subject, at->version, std::move(*rows),
                                                     std::move(audit));
    if (!version) {
        co_return change_failure(version.error());
    }
    announce(parts, at->subject);
    reply.fields = etag(*version);
    co_return reply;
}

/// What of a current period is not in the ledger.
void put_standing(Json& into, PeriodKind kind, const std::vector<BudgetRow>& budgets,
                  const std::vector<accounts::Budget::State>& states)
{
    accounts::Amount reserved;
    for (const auto& state : states) {
        reserved = state.period.kind == kind ? state.reserved : reserved;
    }
    into["reserved_usd"] = core::to_text(reserved.cost);
    into["reserved_tokens"] = reserved.tokens;
    BudgetRow limit;
    for (const auto& budget : budgets) {
        limit = budget.period == kind ? budget : limit;
    }
    into["limit_usd"] = limit.cost ? Json(core::to_text(*limit.cost)) : Json(nullptr);
    into["limit_tokens"] = limit.tokens ? Json(*limit.tokens) : Json(nullptr);
}

/// The sums of the periods that hold `now`, in the order of kPeriodKinds; zeros where there is none.
std::vector<LedgerRow> complete(const std::vector<LedgerRow>& rows, storage::Subject subject,
                                core::SystemTime now)
{
    std::vector<LedgerRow> all;
    for (const auto kind : storage::kPeriodKinds) {
        LedgerRow row;
        row.key.subject = subject;
        row.key.period = storage::period_of(kind, now);
        const auto found = std::find_if(rows.begin(), rows.end(),
                                        [&](const auto& one) { return one.key == row.key; });
        all.push_back(found == rows.end() ? row : *found);
    }
    return all;
}

core::Task<core::Result<Reply>> current_spend(ManageParts& parts, storage::Subject subject,
                                              core::SystemTime now)
{
    auto rows = co_await parts.store->ledger(subject, now);
    if (!rows) {
        co_return rows.error();
    }
    auto budgets = co_await parts.store->budgets(subject);
    if (!budgets) {
        co_return budgets.error();
    }
    std::vector<accounts::Budget::State> states;
    if (parts.budget_of) {
        auto known = co_await parts.budget_of(subject);
        if (!known) {
            co_return known.error();
        }
        states = std::move(*known);
    }
    storage::Page<LedgerRow> page;
    page.rows = complete(*rows, subject, now);
    co_return page_reply(page, [&](const LedgerRow& row) {
        auto shown = show(row);
        put_standing(shown, row.key.period.kind, *budgets, states);
        return shown;
    });
}

core::Task<core::Result<Reply>> get_spend(ManageParts& parts, Call& call)
{
    auto at = co_await find_subject(parts, call);
    if (!at) {
        co_return at.error();
    }
    const auto kind = call.parameter<std::string>("period");
    if (kind) {
        auto page = co_await parts.store->ledger_history(at->subject, period_named(*kind),
                                                         page_of(call, true));
        if (!page) {
            co_return page_failure(page.error(), call);
        }
        co_return page_reply(*page, [](const LedgerRow& row) { return show(row); });
    }
    co_return co_await current_spend(parts, at->subject, call.now);
}

}  // namespace

void add_budget_routes(std::vector<Route>& table)
{
    const auto add = [&table](const std::array<std::string_view, 5>& names) {
        const auto& [budgets, read_name, set_name, spend, spend_name] = names;
        table.push_back(route(http::Verb::get, budgets, read_name, "budgets", "Budgets of its own.",
                              get_budgets)
                            .gives(budgets_shape(true))
                            .tagged());
        table.push_back(route(http::Verb::put, budgets, set_name, "budgets",
                              "Replace the budgets; takes effect at once.", set_budgets)
                            .takes(budgets_shape(false))
                            .gives(budgets_shape(true))
                            .tagged()
                            .if_match());
        table.push_back(
            route(http::Verb::get, spend, spend_name, "budgets",
                  "What was spent in the current day, week, month and in all; or in all "
                  "periods of one kind, the newest first.",
                  get_spend)
                .gives(spend_list())
                .with(paged({period_field()})));
    };
    add({"/manage/projects/{project}/budgets", "getProjectBudgets", "setProjectBudgets",
         "/manage/projects/{project}/spend", "getProjectSpend"});
    add({"/manage/tokens/{token}/budgets", "getTokenBudgets", "setTokenBudgets",
         "/manage/tokens/{token}/spend", "getTokenSpend"});
}

}  // namespace llmproxy::handlers::manage
