#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace llmproxy::cli::manage {
namespace {

struct Options {
    std::string as;
    std::string project;
    std::string model;
    std::string route;
    std::string host;
};

Json question_of(Session& session, const Options& options)
{
    Json question = Json::object();
    const auto put = [&question](const char* name, const std::string& value) {
        if (!value.empty()) {
            question[name] = value;
        }
    };
    const bool is_text =
        options.as.find('/') == std::string::npos && !options.as.starts_with("tok_");
    if (!options.as.empty() && is_text) {
        question["token"] = options.as;
    } else if (!options.as.empty()) {
        question["token_id"] = token_id(session, options.as);
    }
    put("project", options.project.empty() ? "" : project_id(session, options.project));
    put("model", options.model);
    put("route", options.route);
    put("host", options.host);
    return question;
}

void print_list(Session& session, const Json& list,
                const std::vector<std::pair<std::string, std::string>>& columns)
{
    if (!list.empty()) {
        session.out() << "\n";
        print_table(session.out(), list, columns);
    }
}

void print(Session& session, const Json& answer)
{
    auto& out = session.out();
    if (answer["passes"] == true) {
        out << "passes\n";
    } else {
        const auto& refusal = answer["refusal"];
        out << "refused: " << cell(refusal["status"]) << " " << cell(refusal["code"]) << ": "
            << cell(refusal["message"]) << "\n"
            << "detail   " << cell(refusal["detail"]) << "\n";
    }
    out << "route    " << cell(answer["route"]) << "\n";
    if (const auto& account = answer["account"]; account.is_object()) {
        out << "token    " << cell(account["token"]) << "\n"
            << "project  " << cell(account["project"]) << "\n";
    }
    if (const auto& destination = answer["destination"]; destination.is_object()) {
        out << "goes to  " << cell(destination["host"]) << ":" << cell(destination["port"]) << " ("
            << cell(destination["rule"]) << ")\n";
    }
    print_list(session, answer["candidates"],
               {{"backend", "BACKEND"},
                {"model", "MODEL"},
                {"usable", "USABLE"},
                {"priority", "PRIORITY"},
                {"weight", "WEIGHT"},
                {"circuit", "CIRCUIT"},
                {"healthy", "HEALTHY"},
                {"keys", "KEYS"},
                {"resting_keys", "RESTING"},
                {"in_flight", "IN FLIGHT"}});
    print_list(
        session, answer["limits"],
        {{"of", "LIMIT OF"}, {"what", "WHAT"}, {"limit", "LIMIT"}, {"remaining", "REMAINING"}});
    print_list(session, answer["budgets"],
               {{"of", "BUDGET OF"},
                {"period", "PERIOD"},
                {"limit_usd", "USD"},
                {"left_usd", "LEFT USD"},
                {"limit_tokens", "TOKENS"},
                {"left_tokens", "LEFT TOKENS"}});
}

}  // namespace

void add_explain_command(CLI::App& app, Session& session)
{
    const auto options = std::make_shared<Options>();
    auto* explaining =
        app.add_subcommand("explain", "What would become of a request; nothing is counted");
    session.add_options(*explaining);
    auto* as = explaining->add_option(
        "--as", options->as,
        "Whose request: PROJECT/NAME or id of a token, or the token itself; without, nobody's");
    explaining
        ->add_option("--project", options->project,
                     "Id or name of a project: of a token of its without rules of its own")
        ->excludes(as);
    explaining->add_option("--model", options->model, "As the client would name it");
    explaining->add_option("--route", options->route,
                           "E.g. embeddings; chat_completions if not given");
    explaining->add_option("--host", options->host, "Of the forward proxy: HOST or HOST:PORT");
    explaining->callback([&session, options] {
        session.chosen = [&session, options] {
            const auto answer =
                session.send("POST", "/manage/explain", question_of(session, *options));
            session.json() ? session.print(answer) : print(session, answer);
        };
    });
}

}  // namespace llmproxy::cli::manage
