#include "commands.hpp"

#include <CLI/CLI.hpp>

namespace llmproxy::cli::manage {
namespace {

void list(Session& session)
{
    const Json backends = session.get("/manage/backends")["data"];  // never in pages
    if (session.json()) {
        session.print(backends);
        return;
    }
    print_table(session.out(), backends,
                {{"name", "NAME"},
                 {"address", "ADDRESS"},
                 {"priority", "PRIORITY"},
                 {"circuit/state", "CIRCUIT"},
                 {"circuit/held", "HELD"},
                 {"in_flight", "IN FLIGHT"},
                 {"first_byte_ms", "FIRST BYTE MS"},
                 {"success_share", "SUCCESS"},
                 {"resting_keys", "RESTING KEYS"}});
}

}  // namespace

void add_backend_commands(CLI::App& app, Session& session)
{
    struct Order {
        const char* name;
        const char* description;
    };
    auto* group = app.add_subcommand("backend", "Backends, how they do, and their circuits");
    session.add_options(*group);
    group->require_subcommand(1);
    const auto name = std::make_shared<std::string>();
    const auto path = [name] { return "/manage/backends/" + percent_encoded(*name); };

    command(*group, session, "list", "All backends in use", [&session] { list(session); });
    auto* one = command(*group, session, "show", "One backend",
                        [&session, path] { show(session, session.get(path())); });
    one->add_option("name", *name, "Name")->required();
    for (const auto& order :
         {Order{"open", "Let no request pass until close or reset"},
          Order{"close", "Let requests pass whatever happens, until open or reset"},
          Order{"reset", "Let the circuit work by itself again"},
          Order{"drain",
                "Like open, and close idle connections; what is under way ends by itself"}}) {
        auto* acting = command(*group, session, order.name, order.description,
                               [&session, path, action = std::string(order.name)] {
                                   Json body = Json::object();
                                   body["action"] = action;
                                   show(session, session.send("POST", path() + "/circuit", body));
                               });
        acting->add_option("name", *name, "Name")->required();
    }
}

}  // namespace llmproxy::cli::manage
