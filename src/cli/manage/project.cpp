#include "commands.hpp"

#include <CLI/CLI.hpp>

namespace llmproxy::cli::manage {
namespace {

struct Options {
    std::string project;
    std::string name;
    bool disabled = false;
    bool enabled = false;
    GrantOptions grants;
};

std::string path_of(Session& session, const std::string& named)
{
    return "/manage/projects/" + project_id(session, named);
}

Json body_of(const Options& options)
{
    Json body = Json::object();
    if (!options.name.empty()) {
        body["name"] = options.name;
    }
    if (options.disabled || options.enabled) {
        body["enabled"] = options.enabled;
    }
    options.grants.put(body);
    return body;
}

}  // namespace

void add_project_commands(CLI::App& app, Session& session)
{
    auto* group = app.add_subcommand("project", "Projects: who owns tokens, limits and budgets");
    session.add_options(*group);
    group->require_subcommand(1);
    const auto options = std::make_shared<Options>();

    command(*group, session, "list", "All projects", [&session] {
        const auto projects = session.list("/manage/projects", kEverything);
        if (session.json()) {
            session.print(projects);
            return;
        }
        print_table(session.out(), projects,
                    {{"id", "ID"},
                     {"name", "NAME"},
                     {"enabled", "ENABLED"},
                     {"models", "MODELS"},
                     {"created_at", "CREATED"}});
    });

    auto* create = command(*group, session, "create", "Make a project", [&session, options] {
        show(session, session.send("POST", "/manage/projects", body_of(*options)));
    });
    create->add_option("name", options->name, "Unique name")->required();
    create->add_flag("--disabled", options->disabled, "Its tokens are not accepted yet");
    options->grants.add_to(*create);

    auto* one = command(*group, session, "show", "One project", [&session, options] {
        show(session, session.get(path_of(session, options->project)));
    });
    one->add_option("project", options->project, "Id or name")->required();

    auto* update = command(*group, session, "update", "Change a project", [&session, options] {
        show(session,
             session.send("PATCH", path_of(session, options->project), body_of(*options), "*"));
    });
    update->add_option("project", options->project, "Id or name")->required();
    update->add_option("--name", options->name, "Another name");
    auto* disable = update->add_flag("--disable", options->disabled, "Refuse its tokens");
    update->add_flag("--enable", options->enabled, "Accept its tokens")->excludes(disable);
    options->grants.add_to(*update);

    auto* remove =
        command(*group, session, "delete",
                "Delete a project with its tokens, keys, limits and budgets", [&session, options] {
                    session.send("DELETE", path_of(session, options->project), nullptr);
                });
    remove->add_option("project", options->project, "Id or name")->required();

    add_subject_commands(*group, session, "project", path_of);
}

}  // namespace llmproxy::cli::manage
