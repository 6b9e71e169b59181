#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <fstream>

namespace llmproxy::cli::manage {
namespace {

struct Options {
    std::string from;
    std::string to;
    std::string project;
    std::string token;
    std::string route;
    std::string backend;
    std::string model;
    std::string outcome;
    std::string request_id;
    std::vector<std::string> group_by{"project", "model"};
    std::size_t limit = 50;
    std::string format = "csv";
    std::string output;

    void add_to(CLI::App& command)
    {
        command.add_option("--from", from, "From then on, e.g. 2026-01-31 (UTC)");
        command.add_option("--to", to, "Before then");
        command.add_option("--project", project, "Id or name");
        command.add_option("--token", token, "Id, or PROJECT/NAME");
        command.add_option("--route", route, "E.g. chat_completions or connect");
        command.add_option("--backend", backend, "Name of a backend");
        command.add_option("--model", model, "As clients asked for it");
    }
    void add_row_filters_to(CLI::App& command)
    {
        command.add_option("--outcome", outcome, "E.g. ok");
        command.add_option("--request-id", request_id, "x-request-id");
    }
    [[nodiscard]] std::string
    query(Session& session, const std::vector<std::pair<std::string_view, std::string>>& more) const
    {
        std::vector<std::pair<std::string_view, std::string>> all{
            {"from", from},
            {"to", to},
            {"project", project.empty() ? "" : project_id(session, project)},
            {"token", token.empty() ? "" : token_id(session, token)},
            {"route", route},
            {"backend", backend},
            {"model", model},
            {"outcome", outcome},
            {"request_id", request_id}};
        all.insert(all.end(), more.begin(), more.end());
        return query_of(all);
    }
};

std::string joined(const std::vector<std::string>& words)
{
    std::string text;
    for (const auto& word : words) {
        text += (text.empty() ? "" : ",") + word;
    }
    return text;
}

/// Puts names in the place of ids.
void name_ids(Session& session, Json& entries, const char* field, const std::string& target)
{
    const bool any = std::any_of(entries.begin(), entries.end(), [&](const Json& one) {
        return one.contains(field) && one[field].is_string();
    });
    if (!any) {
        return;
    }
    const auto names = names_of(session, target);
    for (auto& one : entries) {
        if (!one.contains(field) || !one[field].is_string()) {
            continue;
        }
        const auto found = names.find(one[field].get<std::string>());
        if (found != names.end()) {
            one[field] = found->second;
        }
    }
}

void sums(Session& session, const Options& options)
{
    const auto by = options.group_by.size() == 1 && options.group_by.front() == "none"
                        ? std::vector<std::string>()
                        : options.group_by;
    auto groups = session.list(
        "/manage/usage/sums" + options.query(session, {{"group_by", joined(by)}}), kEverything);
    if (session.json()) {
        session.print(groups);
        return;
    }
    name_ids(session, groups, "project", "/manage/projects");
    name_ids(session, groups, "token", "/manage/tokens");
    std::vector<std::pair<std::string, std::string>> columns;
    for (const auto& word : by) {
        auto head = word;
        std::transform(head.begin(), head.end(), head.begin(),
                       [](char c) { return c >= 'a' && c <= 'z' ? char(c - ('a' - 'A')) : c; });
        columns.emplace_back(word == "hour" || word == "day" ? "start" : word, head);
    }
    columns.insert(columns.end(), {{"attempts", "ATTEMPTS"},
                                   {"failed", "FAILED"},
                                   {"prompt_tokens", "PROMPT"},
                                   {"completion_tokens", "COMPLETION"},
                                   {"cost_usd", "USD"}});
    print_table(session.out(), groups, columns);
}

void rows(Session& session, const Options& options)
{
    auto found = session.list("/manage/usage" + options.query(session, {}), options.limit);
    if (session.json()) {
        session.print(found);
        return;
    }
    name_ids(session, found, "project", "/manage/projects");
    name_ids(session, found, "token", "/manage/tokens");
    print_table(session.out(), found,
                {{"time", "TIME"},
                 {"project", "PROJECT"},
                 {"token", "TOKEN"},
                 {"route", "ROUTE"},
                 {"backend", "BACKEND"},
                 {"model", "MODEL"},
                 {"status", "STATUS"},
                 {"outcome", "OUTCOME"},
                 {"prompt_tokens", "PROMPT"},
                 {"completion_tokens", "COMPLETION"},
                 {"cost_usd", "USD"}});
}

void export_all(Session& session, const Options& options)
{
    std::ofstream file;
    if (!options.output.empty()) {
        file.open(options.output, std::ios::binary | std::ios::trunc);
        if (!file) {
            throw Stop{1, "cannot write " + options.output};
        }
    }
    std::ostream& out = options.output.empty() ? session.out() : file;
    Question question;
    question.target = "/manage/usage/export" + options.query(session, {{"format", options.format}});
    session.ask(question, [&out](std::string_view piece) { out << piece; });
    out.flush();
    if (!out) {
        throw Stop{1, "not everything could be written"};
    }
}

}  // namespace

void add_usage_commands(CLI::App& app, Session& session)
{
    const auto options = std::make_shared<Options>();
    auto* group = app.add_subcommand("usage", "What was used and what it cost");
    session.add_options(*group);
    group->callback([&session, options, group] {
        if (group->get_subcommands().empty()) {
            session.chosen = [&session, options] { sums(session, *options); };
        }
    });
    options->add_to(*group);
    group
        ->add_option("--group-by", options->group_by,
                     "project, token, route, backend, model, served_model, hour, day; or none")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->capture_default_str();

    auto* list = command(*group, session, "list", "Single attempts, the newest first",
                         [&session, options] { rows(session, *options); });
    options->add_row_filters_to(*list);
    list->add_option("--limit", options->limit, "How many at most")->capture_default_str();

    auto* whole = command(*group, session, "export", "All attempts, the oldest first",
                          [&session, options] { export_all(session, *options); });
    options->add_row_filters_to(*whole);
    whole->add_option("--format", options->format, "csv or ndjson")
        ->check(CLI::IsMember({"csv", "ndjson"}))
        ->capture_default_str();
    whole->add_option("--output,-o", options->output, "A file, in place of standard output");
}

}  // namespace llmproxy::cli::manage
