#include "commands.hpp"

#include <CLI/CLI.hpp>

namespace llmproxy::cli::manage {
namespace {

struct Options {
    std::string status;
    std::string outcome;
    std::string backend;
    std::string model;
    std::string project;
    std::string token;
    std::string route;
    std::string since;
    bool slow = false;
    std::size_t limit = 50;
    bool tail = false;
    std::string id;

    void add_to(CLI::App& command)
    {
        command.add_option("--status", status, "E.g. 429, or a class: 5xx");
        command.add_option("--outcome", outcome, "E.g. ok or upstream_timeout");
        command.add_option("--backend", backend, "Name of a backend");
        command.add_option("--model", model, "As the client asked for it");
        command.add_option("--project", project, "Name of a project");
        command.add_option("--token", token, "Name of a token");
        command.add_option("--route", route, "E.g. chat_completions or connect");
        command.add_option("--since", since, "That began then or later, e.g. 2026-01-31T12:00:00Z");
        command.add_flag("--slow", slow, "Only slow ones");
        command.add_option("--limit", limit, "How many at most")->capture_default_str();
    }
    [[nodiscard]] std::vector<std::pair<std::string_view, std::string>> filters() const
    {
        return {{"status", status}, {"outcome", outcome}, {"backend", backend},
                {"model", model},   {"project", project}, {"token", token},
                {"route", route},   {"since", since},     {"slow", slow ? "true" : ""}};
    }
};

/// What a line of a tail says.
std::string line_of(const Json& request)
{
    std::string line;
    for (const auto* name : {"time", "status", "outcome", "route", "model", "backend", "attempts",
                             "duration_ms", "request_id"}) {
        line += (line.empty() ? "" : "  ") + (request.contains(name) ? cell(request[name]) : "-");
    }
    return line;
}

/// Puts events (server-sent ones) together out of the pieces that come, and shows them.
class Events {
public:
    explicit Events(Session& session) : session_(session) {}

    void take(std::string_view piece)
    {
        text_ += piece;
        for (auto end = text_.find("\n\n"); end != std::string::npos; end = text_.find("\n\n")) {
            show(std::string_view(text_).substr(0, end));
            text_.erase(0, end + 2);
        }
        session_.out().flush();
    }

private:
    void show(std::string_view event)
    {
        std::string_view type;
        std::string_view data;
        while (!event.empty()) {
            const auto end = event.find('\n');
            const auto line = event.substr(0, end);
            event.remove_prefix(end == std::string_view::npos ? event.size() : end + 1);
            if (line.starts_with("event: ")) {
                type = line.substr(7);
            } else if (line.starts_with("data: ")) {
                data = line.substr(6);
            }
        }
        const auto value = Json::parse(data, nullptr, false);
        if (!value.is_object()) {
            return;  // a comment, or what this version does not know
        }
        if (session_.json()) {
            session_.out() << (type == "request" ? value : Json{{std::string(type), value}}).dump()
                           << "\n";
        } else if (type == "request") {
            session_.out() << line_of(value) << "\n";
        } else if (type == "missed" && value.contains("missed")) {
            session_.out() << "(" << cell(value["missed"]) << " missed)\n";
        } else if (type == "end" && value.contains("reason") && value["reason"] != "limit") {
            session_.out() << "(ended: " << cell(value["reason"]) << ")\n";
        }
    }

    Session& session_;
    std::string text_;
};

void tail(Session& session, const Options& options, bool limited)
{
    auto parameters = options.filters();
    parameters.emplace_back("limit", limited ? std::to_string(options.limit) : "");
    Question question;
    question.target = "/manage/requests/tail" + query_of(parameters);
    Events events(session);
    session.ask(question, [&events](std::string_view piece) { events.take(piece); });
}

void list(Session& session, const Options& options)
{
    const auto found =
        session.list("/manage/requests" + query_of(options.filters()), options.limit);
    if (session.json()) {
        session.print(found);
        return;
    }
    print_table(session.out(), found,
                {{"time", "TIME"},
                 {"status", "STATUS"},
                 {"outcome", "OUTCOME"},
                 {"route", "ROUTE"},
                 {"project", "PROJECT"},
                 {"token", "TOKEN"},
                 {"model", "MODEL"},
                 {"backend", "BACKEND"},
                 {"attempts", "ATTEMPTS"},
                 {"duration_ms", "MS"},
                 {"request_id", "ID"}});
}

void show_one(Session& session, const Options& options)
{
    auto request = session.get("/manage/requests/" + percent_encoded(options.id));
    if (session.json()) {
        session.print(request);
        return;
    }
    const auto tries = request["tries"];
    request.erase("tries");
    print_fields(session.out(), request);
    if (tries.empty()) {
        return;
    }
    session.out() << "\n";
    print_table(session.out(), tries,
                {{"backend", "BACKEND"},
                 {"key", "KEY"},
                 {"outcome", "OUTCOME"},
                 {"status", "STATUS"},
                 {"waited_ms", "WAITED MS"},
                 {"circuit", "CIRCUIT"},
                 {"bytes_sent", "SENT"},
                 {"duration_ms", "MS"}});
}

}  // namespace

void add_request_commands(CLI::App& app, Session& session)
{
    const auto options = std::make_shared<Options>();
    auto* group = app.add_subcommand("requests", "The last requests, and those that come");
    session.add_options(*group);
    options->add_to(*group);
    group->add_flag("--tail", options->tail,
                    "Show requests as they finish, until --limit if given");
    group->callback([&session, options, group] {
        if (!group->get_subcommands().empty()) {
            return;
        }
        const bool limited = group->count("--limit") != 0;
        session.chosen = [&session, options, limited] {
            options->tail ? tail(session, *options, limited) : list(session, *options);
        };
    });
    auto* one = command(*group, session, "show", "One request with its attempts",
                        [&session, options] { show_one(session, *options); });
    one->add_option("id", options->id, "Its id: x-llm-proxy-request-id")->required();
}

}  // namespace llmproxy::cli::manage
