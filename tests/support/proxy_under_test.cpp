#include "support/proxy_under_test.hpp"

#include "llmproxy/app/daemon.hpp"
#include "llmproxy/config/load.hpp"

#include <cstdlib>
#include <poll.h>
#include <sstream>
#include <stdexcept>
#include <sys/inotify.h>
#include <unistd.h>

namespace llmproxy::test {

namespace {

std::shared_ptr<const config::Snapshot> load(const GatewayConfig& config, const std::string& dir)
{
    const auto text = config.yaml(dir);
    const auto file = dir + "/proxy.yaml";
    write_file(file, text);
    auto loaded = config::load_text(text, file, {});
    if (loaded.snapshot == nullptr) {
        std::string all = "test configuration refused:\n";
        for (const auto& problem : loaded.problems) {
            all += problem.to_string() + "\n";
        }
        throw std::runtime_error(all + text);
    }
    return loaded.snapshot;
}

}  // namespace

GatewayConfig::GatewayConfig(const std::string& url, const std::string& backend_more)
{
    backend("b1", url, R"(["*"])", backend_more);
    set("default_backend", "b1");
}

GatewayConfig& GatewayConfig::backend(const std::string& name, const std::string& url,
                                      const std::string& models, const std::string& more_keys)
{
    const std::string address = url == "mock" ? "provider: mock" : "base_url: \"" + url + "\"";
    backends.push_back("{ name: " + name + ", " + address + ", models: " + models +
                       (more_keys.empty() ? "" : ", " + more_keys) + " }");
    return *this;
}

GatewayConfig& GatewayConfig::set(const std::string& key, const std::string& value)
{
    more += key + ": " + value + "\n";
    return *this;
}

GatewayConfig& GatewayConfig::listen(std::string items)
{
    listeners = std::move(items);
    return *this;
}

GatewayConfig& GatewayConfig::server_key(const std::string& key, const std::string& value)
{
    server += "  " + key + ": " + value + "\n";
    return *this;
}

std::string GatewayConfig::yaml(const std::string& log_dir) const
{
    std::string text = "server:\n  threads: 2\n" + server + "  listeners:\n";
    if (listeners.empty()) {
        text += "    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, health] }\n"
                "    - { name: ops, address: \"127.0.0.1:0\", serve: [metrics, health] }\n";
    } else {
        text += listeners;
    }
    text += "backends:\n";
    for (const auto& backend : backends) {
        text += "  - " + backend + "\n";
    }
    text += "auth: " + auth + "\n";
    text += "logging: { level: " + log_level + ", path: \"" + log_dir +
            "/diagnostics.log\", access_log: { enabled: true, format: " + access_log_format +
            ", path: \"" + log_dir + "/access.log\"" + access_log_more + " }" + logging_more +
            " }\n";
    const bool says_fallback = more.starts_with("fallback:") || has_text(more, "\nfallback:");
    if (!says_fallback) {
        text += "fallback: { max_retries: 0, enable_circuit_breaker: false }\n";
    }
    return text + more;
}

ProxyUnderTest::ProxyUnderTest(const GatewayConfig& config, const net::Lookup& lookup,
                               std::shared_ptr<const core::Clock> clock)
    : daemon_(std::make_unique<app::Daemon>(load(config, dir_.path())))
{
    if (lookup) {
        daemon_->resolve_with_for_test(lookup);
    }
    if (clock) {
        daemon_->tell_time_for_test(std::move(clock));
    }
    daemon_->run_all_workers_for_test();
    if (const auto started = daemon_->start(); !started) {
        throw std::runtime_error("daemon did not start: " + started.error().describe());
    }
}

ProxyUnderTest::~ProxyUnderTest()
{
    stop_now();
    wait();
}

std::uint16_t ProxyUnderTest::port(std::string_view listener) const
{
    return daemon_->port(listener);
}

Response ProxyUnderTest::ask(std::string_view request, std::string_view listener) const
{
    auto client = connect(listener);
    return client.ask(request);
}

void ProxyUnderTest::drain()
{
    daemon_->drain();
}

void ProxyUnderTest::stop_now()
{
    if (!ended_) {
        daemon_->stop_now();
    }
}

int ProxyUnderTest::wait()
{
    if (!ended_) {
        exit_code_ = daemon_->wait();
        ended_ = true;
    }
    return exit_code_;
}

void ProxyUnderTest::reload(const GatewayConfig& config)
{
    if (const auto done = daemon_->reload(load(config, dir_.path())); !done) {
        throw std::runtime_error("reload refused: " + done.error().describe());
    }
}

bool ProxyUnderTest::order_circuit(std::string_view backend, policy::CircuitOrder order)
{
    return daemon_->order_circuit(backend, order).has_value();
}

nlohmann::json ProxyUnderTest::access_line(const std::string& request_id)
{
    return access_line_where("request_id", request_id);
}

nlohmann::json ProxyUnderTest::access_line(const Response& response)
{
    return access_line(response.head["x-llm-proxy-request-id"]);
}

nlohmann::json ProxyUnderTest::access_line_where(const std::string& key,
                                                 const nlohmann::json& value)
{
    const auto line = access_text([&](const std::string& text) {
        const auto parsed = nlohmann::json::parse(text, nullptr, false);
        return parsed.is_object() && parsed.contains(key) && parsed[key] == value;
    });
    return line.empty() ? nlohmann::json() : nlohmann::json::parse(line);
}

std::string ProxyUnderTest::access_text(const std::function<bool(const std::string&)>& wanted)
{
    const Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    ::inotify_add_watch(watch.get(), dir_.path().c_str(), IN_MODIFY | IN_CREATE);
    const auto until = std::chrono::steady_clock::now() + kGuard;
    while (std::chrono::steady_clock::now() < until) {
        std::istringstream lines(access_log());
        for (std::string line; std::getline(lines, line) && !lines.eof();) {
            if (wanted(line)) {
                return line;
            }
        }
        pollfd item{watch.get(), POLLIN, 0};
        if (::poll(&item, 1, 1000) > 0) {
            char events[4096];
            (void)!::read(watch.get(), events, sizeof events);
        }
    }
    return {};
}

std::string ProxyUnderTest::metrics() const
{
    return ask(get("/metrics", "Connection: close\r\n"), "ops").body;
}

double ProxyUnderTest::metric(std::string_view prefix) const
{
    std::istringstream lines(metrics());
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(prefix)) {
            return std::strtod(line.c_str() + line.rfind(' '), nullptr);
        }
    }
    return -1;
}

std::string chat_body(std::string_view model, bool stream)
{
    std::string body = R"({"messages":[{"role":"user","content":"h\u00e9llo"}],"model":")";
    body.append(model).append("\"");
    return body + (stream ? R"(,"stream":true})" : "}");
}

std::string chat(std::string_view model, bool stream, std::string_view more_fields)
{
    return post_json("/v1/chat/completions", chat_body(model, stream), more_fields);
}

std::string error_code(const Response& response)
{
    const auto parsed = nlohmann::json::parse(response.body, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("error") || !parsed["error"].is_object()) {
        return response.body;
    }
    return parsed["error"].value("code", "");
}

}  // namespace llmproxy::test
