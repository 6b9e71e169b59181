#include "explain_backends.hpp"
#include "explain_shapes.hpp"
#include "ids.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/handlers/forward.hpp"
#include "llmproxy/http/target.hpp"
#include "route.hpp"
#include "subjects.hpp"

#include <algorithm>
#include <array>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

constexpr std::chrono::seconds kPatience{10};  // for the store
constexpr std::array<std::string_view, 6> kStateless{
    "chat_completions", "completions", "embeddings", "responses", "models", "realtime"};

core::Result<Question> question_of(const Call& call)
{
    const auto given = [&call](const char* name) { return call.body.value(name, std::string()); };
    Question question{given("route"), given("model"), given("host"), false};
    int who = 0;
    for (const auto* name : {"token", "token_id", "project"}) {
        who += call.body.contains(name) ? 1 : 0;
    }
    if (who > 1) {
        return bad_field("token", "given alone: one of token, token_id and project");
    }
    if (question.route.empty()) {
        question.route = question.host.empty() ? "chat_completions" : "connect";
    }
    question.forwarded = question.route == "connect" || question.route == "forward";
    if (question.forwarded != !question.host.empty()) {
        return bad_field("host", "given for the routes connect and forward, and for no other");
    }
    if (question.forwarded && !question.model.empty()) {
        return bad_field("model", "left out where there is a host");
    }
    return question;
}

/// Whose request it would be.
core::Task<core::Result<accounts::AccountPtr>> account_of(const pipeline::Policies& policies,
                                                          const Call& call, bool forwarded)
{
    const auto deadline = core::Deadline::after(std::chrono::steady_clock::now(), kPatience);
    const auto& authenticator = *policies.authenticator;
    const bool by_id = call.body.contains("token_id") || call.body.contains("project");
    if (by_id && policies.accounts == nullptr) {
        co_return Failure(Errc::store_unavailable, Origin::self, "no store.path")
            .say("No store is configured (store.path).");
    }
    if (const auto id = call.body.value("token_id", std::string()); !id.empty()) {
        auto found = co_await policies.accounts->account_of(*parse_token(id));
        co_return std::move(found);
    }
    if (const auto id = call.body.value("project", std::string()); !id.empty()) {
        auto found = co_await policies.accounts->account_of(*parse_project(id));
        co_return std::move(found);
    }
    const auto token = call.body.value("token", std::string());
    const auto shown = token.empty() ? std::string() : "Bearer " + token;
    if (forwarded) {
        if (auto known = authenticator.recall_proxy(shown)) {
            co_return std::move(*known);
        }
        auto found = co_await authenticator.look_up_proxy(shown, deadline);
        co_return std::move(found);
    }
    auth::Credentials credentials;
    credentials.authorization = shown;
    if (auto known = authenticator.recall(credentials)) {
        co_return std::move(*known);
    }
    auto found = co_await authenticator.look_up(credentials, deadline);
    co_return std::move(found);
}

Json show_account(const accounts::Account& account)
{
    Json shown = Json::object();
    shown["token"] = account.name();
    shown["token_id"] =
        account.token() == core::TokenId::none ? Json(nullptr) : Json(to_text(account.token()));
    shown["project"] = account.project_name();
    shown["project_id"] = account.project() == core::ProjectId::none
                              ? Json(nullptr)
                              : Json(to_text(account.project()));
    return shown;
}

Json show_refusal(const Failure& failure)
{
    const auto& info = failure.info();
    Json shown = Json::object();
    shown["status"] = info.status;
    shown["type"] = info.type;
    shown["code"] = info.code;
    shown["message"] = failure.message();
    shown["detail"] = failure.detail();
    return shown;
}

Json show_figures(std::string_view of, std::string_view what, const policy::Gcra::Figures& figures)
{
    Json shown = Json::object();
    shown["of"] = of;
    shown["what"] = what;
    shown["limit"] = figures.limit;
    shown["remaining"] = figures.remaining;
    shown["whole_in_ms"] = whole_milliseconds(figures.reset);
    return shown;
}

void show_standing(Json& shown, std::string_view of, const accounts::Outlook::Of& standing)
{
    for (const auto& [what, figures] : {std::pair("requests_per_minute", standing.limits.requests),
                                        std::pair("tokens_per_minute", standing.limits.tokens)}) {
        if (figures.limit != policy::Gcra::kNoLimit) {
            shown["limits"].push_back(show_figures(of, what, figures));
        }
    }
    for (const auto& state : standing.budgets) {
        if (!state.cost_limit && !state.token_limit) {
            continue;
        }
        Json one = Json::object();
        one["of"] = of;
        one["period"] = word_of(state.period.kind);
        const auto left = [](std::int64_t limit, std::int64_t spent, std::int64_t reserved) {
            return std::max<std::int64_t>(limit - spent - reserved, 0);
        };
        one["limit_usd"] =
            state.cost_limit ? Json(core::to_text(*state.cost_limit)) : Json(nullptr);
        one["left_usd"] =
            state.cost_limit
                ? Json(core::to_text(core::NanoUsd{left(
                      state.cost_limit->count, state.spent.cost.count, state.reserved.cost.count)}))
                : Json(nullptr);
        one["limit_tokens"] = state.token_limit ? Json(*state.token_limit) : Json(nullptr);
        one["left_tokens"] =
            state.token_limit
                ? Json(left(*state.token_limit, state.spent.tokens, state.reserved.tokens))
                : Json(nullptr);
        shown["budgets"].push_back(std::move(one));
    }
}

accounts::RequestShape shape_of(const std::string& route)
{
    using Kind = accounts::RequestShape::Kind;
    accounts::RequestShape shape;
    shape.max_output_tokens = 1;
    if (route == "embeddings") {
        shape.kind = Kind::embeds;
    } else if (route == "realtime") {
        shape.kind = Kind::unknown;
    } else if (route != "chat_completions" && route != "completions" && route != "responses") {
        shape.kind = Kind::free;
    }
    return shape;
}

/// Files, batches and the like need a key of the project's own.
core::Task<core::Result<void>> check_own_keys(const pipeline::Policies& policies,
                                              const accounts::Account& account,
                                              const Question& question, const Places& places)
{
    const bool stateless =
        std::find(kStateless.begin(), kStateless.end(), question.route) != kStateless.end();
    if (stateless || !account.stored() || policies.provider_keys == nullptr ||
        places.targets.empty()) {
        co_return core::Result<void>();
    }
    auto backend = places.targets.front()->backend->name();
    auto keys = co_await policies.provider_keys->of(account.project(), std::move(backend));
    if (!keys) {
        co_return keys.error();
    }
    if (!*keys) {
        co_return Failure(Errc::route_not_allowed, Origin::client,
                          "no provider key of the project's own")
            .say("This route needs a provider key of the project's own.");
    }
    co_return core::Result<void>();
}

std::vector<accounts::PricedPlace> priced(const Places& places, const Question& question)
{
    std::vector<accounts::PricedPlace> all;
    for (const auto* target : places.targets) {
        const auto& settings = target->backend->settings();
        all.push_back({target->model.empty() ? std::string_view(question.model) : target->model,
                       settings.name, upstream::to_string(settings.provider)});
    }
    return all;
}

/// Where the forward proxy would go. The name is not resolved: what its addresses are is decided
/// when it is dialled.
core::Result<Json> show_destination(const ForwardPolicies& policies, const Question& question,
                                    const accounts::Account* account, Verdict& verdict)
{
    const bool tunnel = question.route == "connect";
    const bool has_port = core::Host::parse(question.host).has_error();
    auto authority = http::parse_authority_form(
        has_port ? question.host : question.host + (tunnel ? ":443" : ":80"));
    if (!authority) {
        return bad_field("host", "a host, with or without a port");
    }
    const auto rule = policies.destinations->check_host(
        authority->host, authority->port,
        tunnel ? policy::DestinationUse::connect : policy::DestinationUse::http,
        account == nullptr ? nullptr : account->hosts().get());
    if (rule != policy::DestinationRule::allowed) {
        verdict.against(Failure(Errc::destination_not_allowed, Origin::client,
                                std::string(policy::to_text(rule))));
    }
    Json shown = Json::object();
    shown["host"] = authority->host.to_string();
    shown["port"] = authority->port;
    shown["rule"] = policy::to_text(rule);
    return shown;
}

/// Goes through the phases of docs/life-of-a-request.md, without taking anything.
core::Task<core::Result<Reply>> explain(ManageParts& parts, Call& call)
{
    const auto asked = question_of(call);
    if (!asked) {
        co_return asked.error();
    }
    const auto& question = *asked;
    const auto policies = parts.policies();
    Json shown = Json::object();
    shown["passes"] = true;
    shown["refusal"] = nullptr;
    shown["route"] = question.route;
    shown["account"] = nullptr;
    shown["destination"] = nullptr;
    for (const auto* list : {"candidates", "limits", "budgets"}) {
        shown[list] = Json::array();
    }
    Verdict verdict;
    auto found = co_await account_of(*policies, call, question.forwarded);
    if (!found && found.error().errc() == Errc::store_unavailable) {
        co_return found.error();
    }
    if (!found && found.error().errc() == Errc::not_found) {
        co_return bad_field(call.body.contains("project") ? "project" : "token_id",
                            "the id of one that there is");
    }
    accounts::AccountPtr account;
    if (found) {
        account = std::move(*found);
        shown["account"] = show_account(*account);
        verdict.against(account->check_route(question.route));
    } else {
        verdict.against(found.error());
    }
    // Limits come before models, and budgets behind them; both are looked at in one piece.
    Verdict of_places;
    Places places;
    if (question.forwarded) {
        const auto forward = parts.forward();
        auto destination = show_destination(*forward, question, account.get(), of_places);
        if (!destination) {
            co_return destination.error();
        }
        shown["destination"] = std::move(*destination);
    } else if (question.route != "models") {
        if (account && !question.model.empty()) {
            of_places.against(account->check_model(question.model));
        }
        places = places_of(*policies, question, of_places);
        shown["candidates"] = show_candidates(places, question, of_places);
    }
    std::optional<Failure> unpayable;
    if (account && policies->accounts != nullptr) {
        const bool tunnel = question.route == "connect" || question.route == "realtime";
        auto outlook = policies->accounts->outlook(
            *account, question.route, tunnel, shape_of(question.route), priced(places, question));
        show_standing(shown, "token", outlook.token);
        show_standing(shown, "project", outlook.project);
        if (outlook.limited) {
            verdict.against(*outlook.limited);
        }
        unpayable = std::move(outlook.unpayable);
    }
    if (of_places.first()) {
        verdict.against(*of_places.first());
    }
    if (account) {
        auto keys = co_await check_own_keys(*policies, *account, question, places);
        verdict.against(keys);
    }
    if (unpayable) {
        verdict.against(*unpayable);
    }
    if (verdict.first()) {
        shown["passes"] = false;
        shown["refusal"] = show_refusal(*verdict.first());
    }
    co_return Reply(std::move(shown));
}

}  // namespace

void add_explain_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::post, "/manage/explain", "explain", "operation",
                          "What would become of a request; nothing is counted or reserved.",
                          explain)
                        .takes(question_shape())
                        .gives(explanation_shape())
                        .without_store()
                        .only_asking());
}

}  // namespace llmproxy::handlers::manage
