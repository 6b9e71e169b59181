#include "commands.hpp"

#include <CLI/CLI.hpp>

namespace llmproxy::cli::manage {
namespace {

struct Options {
    std::string token;
    std::string project;
    std::string name;
    std::string expires;
    GrantOptions grants;
};

std::string path_of(Session& session, const std::string& named)
{
    return "/manage/tokens/" + token_id(session, named);
}

Json body_of(const Options& options)
{
    Json body = Json::object();
    if (!options.name.empty()) {
        body["name"] = options.name;
    }
    if (!options.expires.empty()) {
        body["expires_at"] = options.expires == "never" ? Json(nullptr) : Json(options.expires);
    }
    options.grants.put(body);
    return body;
}

void list(Session& session, const std::string& project)
{
    const auto id = project.empty() ? std::string() : project_id(session, project);
    auto tokens = session.list("/manage/tokens" + query_of({{"project", id}}), kEverything);
    if (session.json()) {
        session.print(tokens);
        return;
    }
    const auto names = names_of(session, "/manage/projects");
    for (auto& one : tokens) {
        const auto found = names.find(one["project"].get<std::string>());
        one["project_name"] = found == names.end() ? one["project"] : Json(found->second);
    }
    print_table(session.out(), tokens,
                {{"id", "ID"},
                 {"project_name", "PROJECT"},
                 {"name", "NAME"},
                 {"prefix", "BEGINS"},
                 {"status", "STATUS"},
                 {"expires_at", "EXPIRES"},
                 {"models", "MODELS"}});
}

void create(Session& session, const Options& options)
{
    auto body = body_of(options);
    body["project"] = project_id(session, options.project);
    const auto made = session.send("POST", "/manage/tokens", body);
    show(session, made);
    if (!session.json()) {
        session.out() << "\nThe secret is shown only now.\n";
    }
}

}  // namespace

void add_token_commands(CLI::App& app, Session& session)
{
    constexpr const char* kWhich = "Id, or PROJECT/NAME";
    auto* group = app.add_subcommand("token", "Tokens: what clients show");
    session.add_options(*group);
    group->require_subcommand(1);
    const auto options = std::make_shared<Options>();

    auto* all = command(*group, session, "list", "All tokens, or those of a project",
                        [&session, options] { list(session, options->project); });
    all->add_option("--project", options->project, "Id or name");

    auto* make = command(*group, session, "create", "Make a token and print it",
                         [&session, options] { create(session, *options); });
    make->add_option("--project", options->project, "Id or name")->required();
    make->add_option("name", options->name, "Unique name in the project")->required();
    make->add_option("--expires", options->expires, "E.g. 2030-01-01");
    options->grants.add_to(*make);

    auto* one = command(*group, session, "show", "One token", [&session, options] {
        show(session, session.get(path_of(session, options->token)));
    });
    one->add_option("token", options->token, kWhich)->required();

    auto* update = command(*group, session, "update", "Change a token", [&session, options] {
        show(session,
             session.send("PATCH", path_of(session, options->token), body_of(*options), "*"));
    });
    update->add_option("token", options->token, kWhich)->required();
    update->add_option("--name", options->name, "Another name");
    update->add_option("--expires", options->expires, "E.g. 2030-01-01, or never");
    options->grants.add_to(*update);

    auto* revoke =
        command(*group, session, "revoke", "Refuse a token from now on, and end what it has open",
                [&session, options] {
                    const auto path = path_of(session, options->token);
                    show(session, session.send("POST", path + "/revoke", nullptr));
                });
    revoke->add_option("token", options->token, kWhich)->required();

    auto* remove = command(
        *group, session, "delete", "Delete a token, and end what it has open",
        [&session, options] { session.send("DELETE", path_of(session, options->token), nullptr); });
    remove->add_option("token", options->token, kWhich)->required();

    add_subject_commands(*group, session, "token", path_of);
}

}  // namespace llmproxy::cli::manage
