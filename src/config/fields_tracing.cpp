#include "field.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kMinute = 60 * 1000 * kMillisecond;

}  // namespace

void add_tracing_fields(std::vector<Field>& table)
{
    table.push_back(field("tracing.endpoint", Type::string, "",
                          "Where traces go: an OpenTelemetry collector's address for OTLP over "
                          "HTTP, `http(s)://host[:port][/path]`; `/v1/traces` is added unless it "
                          "ends so. Empty: no traces, and `traceparent` passes as it is.")
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.endpoint; })
                        .restart()
                        .commented("http://127.0.0.1:4318"));
    auto headers =
        field("tracing.headers", Type::string_map, "{}", "Further header fields for the collector.")
            .bind([](Cursor & c) -> auto& { return c.root->tracing.headers; })
            .restart();
    headers.masked = true;
    table.push_back(std::move(headers).commented("{ X-Scope-OrgID: team }"));
    table.push_back(field("tracing.authorization", Type::secret, "",
                          "Value of the `Authorization` field for the collector.")
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.authorization; })
                        .restart()
                        .commented("Bearer ${OTLP_TOKEN}"));
    auto file = field("tracing.authorization_file", Type::secret_file, "",
                      "A file that holds it, in place of `authorization`.")
                    .restart();
    file.set = table.back().set;
    table.push_back(std::move(file).commented("/run/secrets/otlp_authorization"));
    table.push_back(field("tracing.ca", Type::path, "",
                          "PEM file of the CAs that the collector's certificate is verified with, "
                          "in place of the system's.")
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.ca; })
                        .restart()
                        .commented());
    table.push_back(field("tracing.sample_ratio", Type::real, "0.1",
                          "Share of the requests that are traced, where the client's `traceparent` "
                          "does not say whether they are.")
                        .between(0, 1)
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.sample_ratio; })
                        .commented("0.1"));
    table.push_back(field("tracing.queue", Type::integer, "2048",
                          "Traced requests that wait to be exported; more are dropped and counted.")
                        .between(1, 1'000'000)
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.queue; })
                        .restart()
                        .commented("2048"));
    table.push_back(field("tracing.batch", Type::integer, "256",
                          "Traced requests that are exported together at most.")
                        .between(1, 100'000)
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.batch; })
                        .restart()
                        .commented("256"));
    table.push_back(field("tracing.interval", Type::duration, "1s",
                          "How long traced requests wait for others to be exported with.")
                        .between(kMillisecond, kMinute)
                        .bind([](Cursor & c) -> auto& { return c.root->tracing.interval; })
                        .restart()
                        .commented("1s"));
    table.push_back(
        field("tracing.timeout", Type::duration, "10s", "For one export, its connection included.")
            .between(kMillisecond, 10 * kMinute)
            .bind([](Cursor & c) -> auto& { return c.root->tracing.timeout; })
            .restart()
            .commented("10s"));
    table.push_back(
        field("tracing.service_name", Type::string, "llm-proxy", "`service.name` of the traces.")
            .bind([](Cursor & c) -> auto& { return c.root->tracing.service_name; })
            .restart()
            .commented("llm-proxy"));
}

}  // namespace llmproxy::config
