#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace llmproxy::cli {

struct ManagementCommands::State {
    manage::Session session;
};

ManagementCommands::ManagementCommands(CLI::App& app, OfflineBackup offline_backup)
    : state_(std::make_unique<State>())
{
    manage::add_project_commands(app, state_->session);
    manage::add_token_commands(app, state_->session);
    manage::add_key_commands(app, state_->session);
    manage::add_usage_commands(app, state_->session);
    manage::add_backend_commands(app, state_->session);
    manage::add_request_commands(app, state_->session);
    manage::add_explain_command(app, state_->session);
    manage::add_operation_commands(app, state_->session, std::move(offline_backup));
}

ManagementCommands::~ManagementCommands() = default;

std::optional<int> ManagementCommands::run(std::ostream& out, std::ostream& err)
{
    if (!state_->session.chosen) {
        return std::nullopt;
    }
    return state_->session.run(out, err);
}

}  // namespace llmproxy::cli

namespace llmproxy::cli::manage {
namespace {

bool is_id(const std::string& text, std::string_view prefix)
{
    return text.starts_with(prefix) && text.size() > prefix.size() &&
           text.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
}

void put_list(Json& body, const char* name, const std::vector<std::string>& values)
{
    if (values.empty()) {
        return;
    }
    const bool clear = values.size() == 1 && values.front().empty();
    body[name] = clear ? Json::array() : Json(values);
}

}  // namespace

CLI::App* command(CLI::App& group, Session& session, const std::string& name,
                  const std::string& description, std::function<void()> run)
{
    auto* made = group.add_subcommand(name, description);
    made->callback([&session, run = std::move(run)] { session.chosen = run; });
    made->fallthrough();
    return made;
}

void show(Session& session, const Json& object)
{
    if (session.json()) {
        session.print(object);
    } else {
        print_fields(session.out(), object);
    }
}

std::string project_id(Session& session, const std::string& named)
{
    if (is_id(named, "proj_")) {
        return named;
    }
    const auto found = session.get("/manage/projects" + query_of({{"name", named}}));
    if (found["data"].empty()) {
        throw Stop{1, "there is no project '" + named + "'"};
    }
    return found["data"][0]["id"].get<std::string>();
}

std::string token_id(Session& session, const std::string& named)
{
    if (is_id(named, "tok_")) {
        return named;
    }
    const auto slash = named.find('/');
    if (slash == std::string::npos) {
        throw Stop{2, "a token is named by its id (tok_1) or as PROJECT/NAME, got " + named};
    }
    const auto project = project_id(session, named.substr(0, slash));
    const auto name = named.substr(slash + 1);
    const auto tokens =
        session.list("/manage/tokens" + query_of({{"project", project}}), kEverything);
    const auto found = std::find_if(tokens.begin(), tokens.end(),
                                    [&](const Json& one) { return one["name"] == name; });
    if (found == tokens.end()) {
        throw Stop{1, "there is no token '" + named + "'"};
    }
    return (*found)["id"].get<std::string>();
}

std::map<std::string, std::string> names_of(Session& session, const std::string& target)
{
    std::map<std::string, std::string> names;
    for (const auto& one : session.list(target, kEverything)) {
        names[one["id"].get<std::string>()] = one["name"].get<std::string>();
    }
    return names;
}

void GrantOptions::add_to(CLI::App& command)
{
    // Without this an option would take the name that follows it as well.
    constexpr bool kOneValueEach = false;
    command
        .add_option(
            "--model", models,
            "A model, or a pattern of models, that may be used; repeat for more, '' for all")
        ->allow_extra_args(kOneValueEach);
    command
        .add_option("--host", hosts,
                    "A host that may be reached by the forward proxy; repeat for more, '' for all")
        ->allow_extra_args(kOneValueEach);
    command
        .add_option("--route", routes,
                    "A route that may be used; repeat for more, '' for the usual ones")
        ->allow_extra_args(kOneValueEach);
}

void GrantOptions::put(Json& body) const
{
    put_list(body, "models", models);
    put_list(body, "hosts", hosts);
    put_list(body, "routes", routes);
}

}  // namespace llmproxy::cli::manage
