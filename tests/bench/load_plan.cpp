#include "load_plan.hpp"

namespace llmproxy::bench {
namespace {

std::string make_request(const Options& options, const Plan& plan, const std::string& model)
{
    const std::string path = options.text("path", "/v1/chat/completions");
    const std::string host = " HTTP/1.1\r\nHost: " + plan.name + ":" + std::to_string(plan.port) +
                             (plan.new_connection ? "\r\nConnection: close" : "");
    if (options.has("upload")) {
        const auto size = static_cast<std::size_t>(options.number("upload", 0));
        return "PUT " + path + host + "\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" +
               std::string(size, 'u');
    }
    if (path == "/v1/models" || path.starts_with("/bulk/")) {
        return "GET " + path + host + "\r\n\r\n";
    }
    const std::string content =
        path.ends_with("/embeddings")
            ? R"("input":"The quick brown fox jumps over the lazy dog.")"
            : R"("messages":[{"role":"system","content":"Answer briefly."},)"
              R"({"role":"user","content":"What does a proxy do between a )"
              R"(program and the service that it calls? Two sentences."}],)"
              R"("temperature":0.2)";
    const std::string body =
        "{" + content + ",\"model\":\"" + model + (plan.stream ? "\",\"stream\":true}" : "\"}");
    return "POST " + path + host +
           "\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
           "User-Agent: bench-load\r\nAuthorization: Bearer " +
           options.text("token", "none") + "\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
}

}  // namespace

Plan make_plan(const Options& options)
{
    Plan plan;
    plan.port = static_cast<std::uint16_t>(options.number("port", 0));
    plan.connections = static_cast<std::size_t>(options.number("connections", 1));
    plan.warm_up = static_cast<std::uint64_t>(options.number("warm-up", 0));
    plan.requests = static_cast<std::uint64_t>(options.number("requests", 1));
    plan.seconds = options.number("seconds", 30);
    plan.stagger_ns = options.number("stagger-us", 0) * 1000;
    plan.every_ns = options.number("every-us", 0) * 1000;
    plan.new_connection = options.has("new-connection");
    plan.stream = options.has("stream") || options.has("hold");
    plan.hold = options.has("hold");
    plan.name = options.text("name", "localhost");
    if (options.has("ca")) {
        plan.tls = TlsContext::client(options.text("ca"));
    }
    if (options.has("connect")) {
        const std::string to = options.text("connect");
        plan.connect = "CONNECT " + to + " HTTP/1.1\r\nHost: " + to +
                       "\r\nProxy-Authorization: Bearer " + options.text("token", "none") +
                       "\r\n\r\n";
    }
    const std::string model = options.text("model", "gpt-bench");
    plan.request = make_request(options, plan, model);
    plan.warm_request = make_request(options, plan, options.text("warm-model", model));
    return plan;
}

}  // namespace llmproxy::bench
