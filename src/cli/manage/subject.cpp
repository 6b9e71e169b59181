#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <array>

namespace llmproxy::cli::manage {
namespace {

struct Figure {
    const char* option;
    const char* name;
    const char* head;
    const char* description;
};

constexpr std::array<Figure, 5> kFigures{{
    {"--requests-per-minute", "requests_per_minute", "REQUESTS/MIN", "Requests per minute"},
    {"--tokens-per-minute", "tokens_per_minute", "TOKENS/MIN", "Tokens per minute"},
    {"--bytes-per-minute", "bytes_per_minute", "BYTES/MIN", "Bytes per minute"},
    {"--concurrent", "concurrent_requests", "CONCURRENT", "Requests at once"},
    {"--tunnels", "tunnels", "TUNNELS", "Tunnels at once"},
}};

struct Options {
    std::string subject;
    std::string route;
    std::array<std::string, kFigures.size()> figures;
    bool clear = false;

    std::string period;
    std::string usd;
    std::string tokens;
    std::vector<int> soft;
};

/// A whole number, or nothing for `none`.
Json figure_of(const std::string& option, const std::string& text)
{
    if (text == "none") {
        return nullptr;
    }
    const auto value = Json::parse(text, nullptr, false);
    if (!value.is_number_integer()) {
        throw Stop{2, option + ": expected a whole number or none, got " + text};
    }
    return value;
}

/// Puts `changes` into the entry of `list` whose `key` is `value`, which is added if it is missing.
void merge(Json& list, const std::string& key, const Json& value, const Json& changes)
{
    for (auto& one : list) {
        if (one[key] == value) {
            one.update(changes);
            return;
        }
    }
    Json made{{key, value}};
    made.update(changes);
    list.push_back(std::move(made));
}

void drop(Json& list, const std::string& key, const Json& value)
{
    auto kept = Json::array();
    for (auto& one : list) {
        if (one[key] != value) {
            kept.push_back(std::move(one));
        }
    }
    list = std::move(kept);
}

void print_limits(Session& session, const Json& limits)
{
    if (session.json()) {
        session.print(limits);
        return;
    }
    std::vector<std::pair<std::string, std::string>> columns{{"route", "ROUTE"}};
    for (const auto& figure : kFigures) {
        columns.emplace_back(figure.name, figure.head);
    }
    auto rows = limits["limits"];
    for (auto& one : rows) {
        one["route"] = one["route"].is_null() ? Json("(all others)") : one["route"];
    }
    print_table(session.out(), rows, columns);
}

void limits(Session& session, const Options& options, const std::string& path)
{
    auto [body, tag] = session.get_tagged(path + "/limits");
    Json changes = Json::object();
    for (std::size_t i = 0; i < kFigures.size(); ++i) {
        if (!options.figures[i].empty()) {
            changes[kFigures[i].name] = figure_of(kFigures[i].option, options.figures[i]);
        }
    }
    const auto route = options.route.empty() ? Json(nullptr) : Json(options.route);
    if (options.clear) {
        drop(body["limits"], "route", route);
    } else if (!changes.empty()) {
        merge(body["limits"], "route", route, changes);
    } else {
        print_limits(session, body);
        return;
    }
    print_limits(session, session.send("PUT", path + "/limits", body, tag));
}

void print_budgets(Session& session, const Json& budgets)
{
    if (session.json()) {
        session.print(budgets);
        return;
    }
    print_table(session.out(), budgets["budgets"],
                {{"period", "PERIOD"},
                 {"cost_usd", "USD"},
                 {"tokens", "TOKENS"},
                 {"soft_percents", "SOFT %"}});
}

void budget(Session& session, const Options& options, const std::string& path)
{
    auto [body, tag] = session.get_tagged(path + "/budgets");
    Json changes = Json::object();
    if (!options.usd.empty()) {
        changes["cost_usd"] = options.usd == "none" ? Json(nullptr) : Json(options.usd);
    }
    if (!options.tokens.empty()) {
        changes["tokens"] = figure_of("--tokens", options.tokens);
    }
    if (!options.soft.empty()) {
        changes["soft_percents"] = options.soft;
    }
    if (changes.empty() && !options.clear) {
        print_budgets(session, body);
        return;
    }
    if (options.clear) {
        drop(body["budgets"], "period", options.period);
    } else {
        merge(body["budgets"], "period", options.period, changes);
    }
    print_budgets(session, session.send("PUT", path + "/budgets", body, tag));
}

void spend(Session& session, const Options& options, const std::string& path)
{
    const auto spent =
        session.list(path + "/spend" + query_of({{"period", options.period}}), kEverything);
    if (session.json()) {
        session.print(spent);
        return;
    }
    std::vector<std::pair<std::string, std::string>> columns{
        {"period", "PERIOD"}, {"start", "FROM"},    {"end", "TO"},
        {"cost_usd", "USD"},  {"tokens", "TOKENS"}, {"requests", "REQUESTS"}};
    if (options.period.empty()) {
        columns.insert(columns.end(), {{"limit_usd", "OF USD"},
                                       {"limit_tokens", "OF TOKENS"},
                                       {"reserved_usd", "RESERVED USD"}});
    }
    print_table(session.out(), spent, columns);
}

}  // namespace

void add_subject_commands(CLI::App& group, Session& session, const std::string& what,
                          const PathOf& path_of)
{
    const auto options = std::make_shared<Options>();
    const std::string which = what == "project" ? "Id or name" : "Id, or PROJECT/NAME";
    const auto path = [&session, options, path_of] { return path_of(session, options->subject); };

    auto* limiting =
        command(group, session, "limits", "Show or change the rate limits of a " + what,
                [&session, options, path] { limits(session, *options, path()); });
    limiting->add_option(what, options->subject, which)->required();
    limiting->add_option("--route", options->route, "Of this route alone, e.g. embeddings");
    for (std::size_t i = 0; i < kFigures.size(); ++i) {
        limiting->add_option(kFigures[i].option, options->figures[i],
                             std::string(kFigures[i].description) + ", or none");
    }
    limiting->add_flag("--clear", options->clear, "No limits for the route, or for all others");

    const auto periods = CLI::IsMember({"day", "week", "month", "total"});
    auto* budgeting = command(group, session, "budget", "Show or change the budgets of a " + what,
                              [&session, options, path] { budget(session, *options, path()); });
    budgeting->add_option(what, options->subject, which)->required();
    auto* period = budgeting->add_option("--period", options->period, "day, week, month or total")
                       ->check(periods);
    budgeting->add_option("--usd", options->usd, "The most money per period, or none")
        ->needs(period);
    budgeting->add_option("--tokens", options->tokens, "The most tokens per period, or none")
        ->needs(period);
    budgeting->add_option("--soft", options->soft, "Percents that are told when they are reached")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->needs(period);
    budgeting->add_flag("--clear", options->clear, "No budget for the period")->needs(period);

    auto* spending = command(group, session, "spend", "What a " + what + " has spent",
                             [&session, options, path] { spend(session, *options, path()); });
    spending->add_option(what, options->subject, which)->required();
    spending->add_option("--period", options->period, "All days, weeks or months, newest first")
        ->check(periods);
}

}  // namespace llmproxy::cli::manage
