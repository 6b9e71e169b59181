#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <fstream>
#include <iostream>
#include <iterator>

namespace llmproxy::cli::manage {
namespace {

struct Options {
    std::string key;
    std::string project;
    std::string backend;
    std::string name;
    std::string file;
};

/// The secret comes from a file or standard input: a command line can be seen by others.
std::string read_secret(const std::string& path)
{
    std::ifstream file;
    if (!path.empty()) {
        file.open(path, std::ios::binary);
        if (!file) {
            throw Stop{1, "cannot read " + path};
        }
    }
    std::istream& in = path.empty() ? std::cin : file;
    std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    text.erase(text.find_last_not_of("\r\n") + 1);
    if (text.empty()) {
        throw Stop{2, "the key is expected on standard input, or in --key-file"};
    }
    return text;
}

}  // namespace

void add_key_commands(CLI::App& app, Session& session)
{
    auto* group = app.add_subcommand("key", "Provider keys: keys of a project for a backend");
    session.add_options(*group);
    group->require_subcommand(1);
    const auto options = std::make_shared<Options>();

    auto* all = command(
        *group, session, "list", "All provider keys, or those of a project", [&session, options] {
            const auto project =
                options->project.empty() ? std::string() : project_id(session, options->project);
            const auto keys =
                session.list("/manage/keys" + query_of({{"project", project}}), kEverything);
            if (session.json()) {
                session.print(keys);
                return;
            }
            print_table(session.out(), keys,
                        {{"id", "ID"},
                         {"project", "PROJECT"},
                         {"backend", "BACKEND"},
                         {"name", "NAME"},
                         {"hint", "ENDS"},
                         {"master_key", "SEALED WITH"},
                         {"updated_at", "CHANGED"}});
        });
    all->add_option("--project", options->project, "Id or name");

    auto* create = command(*group, session, "create", "Give a project a key, read from stdin",
                           [&session, options] {
                               Json body = Json::object();
                               body["project"] = project_id(session, options->project);
                               body["backend"] = options->backend;
                               body["name"] = options->name;
                               body["key"] = read_secret(options->file);
                               show(session, session.send("POST", "/manage/keys", body));
                           });
    create->add_option("name", options->name, "Unique among the project's keys for the backend")
        ->required();
    create->add_option("--project", options->project, "Id or name")->required();
    create->add_option("--backend", options->backend, "Name of a backend")->required();
    create->add_option("--key-file", options->file, "Read the key from here");

    auto* replace = command(*group, session, "replace", "Put another key, read from stdin, there",
                            [&session, options] {
                                Json body = Json::object();
                                body["key"] = read_secret(options->file);
                                const auto path = "/manage/keys/" + percent_encoded(options->key);
                                show(session, session.send("PATCH", path, body, "*"));
                            });
    replace->add_option("key", options->key, "Id")->required();
    replace->add_option("--key-file", options->file, "Read the key from here");

    auto* remove = command(*group, session, "delete", "Delete a provider key", [&session, options] {
        session.send("DELETE", "/manage/keys/" + percent_encoded(options->key), nullptr);
    });
    remove->add_option("key", options->key, "Id")->required();
}

}  // namespace llmproxy::cli::manage
