#include "llmproxy/app/serve.hpp"
#include "llmproxy/app/store_commands.hpp"
#include "llmproxy/cli/certs.hpp"
#include "llmproxy/cli/config_commands.hpp"
#include "llmproxy/cli/healthcheck.hpp"
#include "llmproxy/cli/management.hpp"
#include "llmproxy/version.hpp"

#include <CLI/CLI.hpp>

#include <iostream>

namespace {

constexpr int kUsage = 2;

}  // namespace

int main(int argc, char** argv)
{
    CLI::App app("llm-proxy: OpenAI-compatible gateway for LLM traffic");
    app.require_subcommand(1);
    std::string config;
    std::string directory;
    std::string what;
    bool store = false;
    std::string url = "http://127.0.0.1:8888/healthz";

    auto* serve = app.add_subcommand("serve", "Run the daemon");
    serve->add_option("--config,-c", config, "Configuration file (YAML)")->required();
    auto* check =
        app.add_subcommand("check", "Validate a configuration and print what is in force");
    check->add_option("--config,-c", config, "Configuration file (YAML)")->required();
    check->add_flag("--store", store, "Read the whole store too, and compare");
    auto* documents =
        app.add_subcommand("config", "Print the configuration's reference, schema or example");
    documents->add_option("what", what, "reference, schema or example")
        ->required()
        ->check(CLI::IsMember({"reference", "schema", "example"}));
    auto* certs = app.add_subcommand("certs", "Certificates for development");
    certs->require_subcommand(1);
    auto* init = certs->add_subcommand("init", "Make a throw-away CA and a server certificate");
    init->add_option("dir", directory, "Folder to put them in")->required();
    auto* health = app.add_subcommand("healthcheck", "Ask a running daemon whether it is well");
    health->add_option("--url", url, "What to ask")->capture_default_str();
    llmproxy::cli::ManagementCommands management(app, llmproxy::app::run_offline_backup);
    auto* version = app.add_subcommand("version", "Print the version");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : kUsage;
    }
    if (*serve) {
        return llmproxy::app::run_serve(config, std::cerr);
    }
    if (*check) {
        const int code = llmproxy::cli::run_check(config, std::cout, std::cerr);
        return code == 0 && store ? llmproxy::app::run_check_store(config, std::cout, std::cerr)
                                  : code;
    }
    if (*documents) {
        return llmproxy::cli::run_config(what, std::cout);
    }
    if (*init) {
        return llmproxy::cli::run_certs_init(directory, std::cout, std::cerr);
    }
    if (*health) {
        return llmproxy::cli::run_healthcheck(url, std::cerr);
    }
    if (const auto code = management.run(std::cout, std::cerr)) {
        return *code;
    }
    if (*version) {
        std::cout << "llm-proxy " << llmproxy::kVersion << "\n";
    }
    return 0;
}
