#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <sstream>

namespace llmproxy::cli::manage {
namespace {

struct AuditOptions {
    std::string from;
    std::string to;
    std::string actor;
    std::string action;
    std::string kind;
    std::string target;
    std::size_t limit = 50;
};

struct BackupOptions {
    std::string path;
    std::string config;
};

void back_up(Session& session, const std::string& path)
{
    Json body = Json::object();
    if (!path.empty()) {
        body["path"] = path;
    }
    show(session, session.send("POST", "/manage/backup", body));
}

void audit(Session& session, const AuditOptions& options)
{
    const auto entries = session.list("/manage/audit" + query_of({{"from", options.from},
                                                                  {"to", options.to},
                                                                  {"actor", options.actor},
                                                                  {"action", options.action},
                                                                  {"target_kind", options.kind},
                                                                  {"target", options.target}}),
                                      options.limit);
    if (session.json()) {
        session.print(entries);
        return;
    }
    print_table(session.out(), entries,
                {{"time", "TIME"},
                 {"actor", "ACTOR"},
                 {"source", "FROM"},
                 {"action", "ACTION"},
                 {"target", "TARGET"},
                 {"before", "BEFORE"},
                 {"after", "AFTER"}});
}

void print_reload(Session& session, const Json& report)
{
    if (session.json()) {
        session.print(report);
        return;
    }
    session.out() << "reloaded\n";
    for (const auto& warning : report["warnings"]) {
        session.out() << cell(warning) << "\n";
    }
    for (const auto& key : report["needs_restart"]) {
        session.out() << cell(key) << ": takes effect at the next start\n";
    }
}

}  // namespace

void add_operation_commands(CLI::App& app, Session& session,
                            ManagementCommands::OfflineBackup offline_backup)
{
    const auto options = std::make_shared<AuditOptions>();
    auto* auditing = command(app, session, "audit", "Who changed what",
                             [&session, options] { audit(session, *options); });
    session.add_options(*auditing);
    auditing->add_option("--from", options->from, "From then on, e.g. 2026-01-31 (UTC)");
    auditing->add_option("--to", options->to, "Before then");
    auditing->add_option("--actor", options->actor, "Name of a management token");
    auditing->add_option("--action", options->action, "E.g. token.revoke");
    auditing->add_option("--kind", options->kind, "E.g. token");
    auditing->add_option("--target", options->target, "Id or name of what was changed");
    auditing->add_option("--limit", options->limit, "How many at most")->capture_default_str();

    auto* reloading =
        command(app, session, "reload", "Have the configuration read again", [&session] {
            print_reload(session, session.send("POST", "/manage/reload", nullptr));
        });
    session.add_options(*reloading);

    const auto copy = std::make_shared<BackupOptions>();
    auto* copying = command(
        app, session, "backup", "Copy the store",
        [&session, copy, offline = std::move(offline_backup)] {
            if (copy->config.empty()) {
                back_up(session, copy->path);
                return;
            }
            std::ostringstream reason;
            const int code = offline(copy->config, copy->path, session.out(), reason);
            if (code != 0) {
                throw Stop{code, reason.str().substr(0, reason.str().find_last_not_of('\n') + 1)};
            }
        });
    session.add_options(*copying);
    copying->add_option("path", copy->path,
                        "Where to; below the folder of the store if a daemon makes it");
    copying->add_option("--config,-c", copy->config,
                        "Copy the store of this configuration, which no daemon has open");

    auto* store = app.add_subcommand("store", "The store");
    session.add_options(*store);
    store->require_subcommand(1);
    command(*store, session, "show", "How the store is",
            [&session] { show(session, session.get("/manage/store")); });
    command(*store, session, "reencrypt",
            "Seal all provider keys anew with the current master key (store.encryption_key)",
            [&session] { show(session, session.send("POST", "/manage/keys/reseal", nullptr)); });
}

}  // namespace llmproxy::cli::manage
