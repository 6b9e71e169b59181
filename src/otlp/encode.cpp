#include "encode.hpp"

#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/telemetry/gen_ai.hpp"
#include "llmproxy/telemetry/trace.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <string_view>

namespace llmproxy::otlp {
namespace {

using telemetry::AccessRecord;
using telemetry::SpanId;
using telemetry::Trace;
using telemetry::TraceAttempt;

/// Of opentelemetry/proto/trace/v1/trace.proto.
constexpr int kInternal = 1;
constexpr int kServer = 2;
constexpr int kClient = 3;
constexpr int kStatusError = 2;
constexpr std::size_t kMaxText = 2048;

void append_quoted(std::string& out, std::string_view text)
{
    out += '"';
    core::append_json_escaped(out, text.substr(0, kMaxText));
    out += '"';
}

/// A list of attributes. What does not apply is left out.
class Attributes {
public:
    /// \param before  what separates it from the member before.
    explicit Attributes(std::string& out, std::string_view before = ",") : out_(out)
    {
        core::append_all(out_, before, R"("attributes":[)");
    }
    Attributes(const Attributes&) = delete;
    Attributes& operator=(const Attributes&) = delete;
    ~Attributes() { out_ += ']'; }

    void text(std::string_view key, std::string_view value)
    {
        if (!value.empty()) {
            begin(key, "stringValue");
            append_quoted(out_, value);
            out_ += "}}";
        }
    }
    void texts(std::string_view key, std::string_view only)
    {
        if (!only.empty()) {
            begin(key, "arrayValue");
            out_ += R"({"values":[{"stringValue":)";
            append_quoted(out_, only);
            out_ += "}]}}}";
        }
    }
    /// 64 bit numbers are texts in protobuf's JSON.
    void number(std::string_view key, std::uint64_t value)
    {
        begin(key, "intValue");
        fmt::format_to(std::back_inserter(out_), "\"{}\"}}}}", value);
    }
    void real(std::string_view key, double value)
    {
        begin(key, "doubleValue");
        fmt::format_to(std::back_inserter(out_), "{}}}}}", value);
    }
    void flag(std::string_view key, bool value)
    {
        begin(key, "boolValue");
        out_ += value ? "true}}" : "false}}";
    }

private:
    void begin(std::string_view key, std::string_view type)
    {
        core::append_all(out_, first_ ? "" : ",", R"({"key":")", key, R"(","value":{")", type,
                         "\":");
        first_ = false;
    }

    std::string& out_;
    bool first_ = true;
};

/// Writes the spans of one request, one after another, with commas between.
class Spans {
public:
    Spans(std::string& out, const AccessRecord& record)
        : out_(out), record_(record), trace_(*record.trace),
          // The record tells when the head was complete by the system's clock, the trace by the steady one.
          zero_(std::chrono::nanoseconds(record.start.time_since_epoch()).count() -
                trace_.began.time_since_epoch().count()),
          end_(trace_.began + record.times.total)
    {
    }

    void write()
    {
        request();
        for (const auto& part : trace_.parts) {
            internal(part, trace_.span);
        }
        std::uint64_t resends = 0;
        for (const auto& attempt : trace_.attempts) {
            client(attempt, resends++);
            for (const auto& part : attempt.parts) {
                internal(part, attempt.span);
            }
        }
    }

private:
    void begin(const SpanId& id, const SpanId* parent, std::string_view name, int kind,
               core::SteadyTime from, core::SteadyTime until)
    {
        core::append_all(out_, first_ ? "" : ",", R"({"traceId":")");
        first_ = false;
        telemetry::append_hex(out_, trace_.id);
        out_ += R"(","spanId":")";
        telemetry::append_hex(out_, id);
        if (parent != nullptr) {
            out_ += R"(","parentSpanId":")";
            telemetry::append_hex(out_, *parent);
        }
        out_ += R"(","name":)";
        append_quoted(out_, name);
        fmt::format_to(std::back_inserter(out_),
                       R"(,"kind":{},"startTimeUnixNano":"{}","endTimeUnixNano":"{}")", kind,
                       unix_time(from), unix_time(until));
    }

    [[nodiscard]] std::int64_t unix_time(core::SteadyTime at) const
    {
        return zero_ + at.time_since_epoch().count();
    }

    void finish(std::string_view error)
    {
        if (!error.empty()) {
            fmt::format_to(std::back_inserter(out_), R"(,"status":{{"code":{},"message":)",
                           kStatusError);
            append_quoted(out_, error);
            out_ += '}';
        }
        out_ += '}';
    }

    void internal(const telemetry::TracePart& part, const SpanId& parent)
    {
        SpanId id{};
        core::fill_random(id);
        begin(id, &parent, part.name, kInternal, part.began, part.ended);
        finish({});
    }

    void request()
    {
        const auto& r = record_;
        const bool rooted = trace_.parent == SpanId{};
        begin(trace_.span, rooted ? nullptr : &trace_.parent, r.method + " " + std::string(r.route),
              kServer, trace_.began, end_);
        if (!trace_.state.empty()) {
            out_ += R"(,"traceState":)";
            append_quoted(out_, trace_.state);
        }
        {
            Attributes list(out_);
            list.text("http.request.method", r.method);
            list.text("url.path", r.path);
            list.text("http.route", r.route);
            list.number("http.response.status_code", r.status);
            list.text("client.address", r.client);
            list.text("server.address", r.authority);
            list.text("user_agent.original", r.user_agent);
            list.text("network.protocol.version", r.protocol.substr(r.protocol.find('/') + 1));
            list.text("llmproxy.request_id", r.request_id);
            list.text("llmproxy.listener", r.listener);
            list.text("llmproxy.backend", r.backend);
            list.text("llmproxy.project", r.project);
            list.text("llmproxy.token", r.token);
            list.text("llmproxy.outcome", r.outcome);
            list.number("llmproxy.attempts", r.attempts);
            list.flag("llmproxy.stream", r.stream);
            list.text("llmproxy.tunnel", r.tunnel);
            if (r.times.proxy >= core::Duration::zero()) {
                list.real("llmproxy.proxy_ms",
                          std::chrono::duration<double, std::milli>(r.times.proxy).count());
            }
            if (r.cost.count != 0) {
                list.real("llmproxy.cost_usd",
                          static_cast<double>(r.cost.count) / core::NanoUsd::kPerUsd);
            }
            list.text("error.type", is_error() ? r.outcome : std::string_view());
            gen_ai(list, r.model, r.provider, false);  // what it used is the attempt's
        }
        finish(is_error() ? r.outcome : std::string_view());
    }

    /// Of a server's span: what the server is to blame for, and answers that never came to their end.
    [[nodiscard]] bool is_error() const
    {
        return record_.status >= 500 || (record_.outcome != "ok" && record_.status < 400);
    }

    void client(const TraceAttempt& attempt, std::uint64_t resends)
    {
        const auto operation = telemetry::gen_ai_operation(record_.route);
        const auto name =
            operation.empty() ? record_.method : std::string(operation) + " " + attempt.model;
        const bool over = attempt.ended != core::SteadyTime{};
        begin(attempt.span, &trace_.span, name, kClient, attempt.began,
              over ? attempt.ended : end_);
        const auto error = attempt.outcome == "ok" ? std::string_view() : attempt.outcome;
        {
            Attributes list(out_);
            list.text("http.request.method", record_.method);
            if (attempt.status != 0) {
                list.number("http.response.status_code", attempt.status);
            }
            if (resends != 0) {
                list.number("http.request.resend_count", resends);
            }
            address(list, attempt.upstream);
            list.text("llmproxy.backend", attempt.backend);
            list.text("error.type", error);
            gen_ai(list, attempt.model, attempt.provider, attempt.answered);
        }
        finish(error);
    }

    static void address(Attributes& list, std::string_view upstream)
    {
        const auto colon = upstream.rfind(':');
        if (colon == std::string_view::npos) {
            list.text("server.address", upstream);
            return;
        }
        list.text("server.address", upstream.substr(0, colon));
        if (const auto port = core::parse_number<std::uint16_t>(upstream.substr(colon + 1))) {
            list.number("server.port", *port);
        }
    }

    /// \param answered  what the reply told belongs to this span.
    void gen_ai(Attributes& list, std::string_view model, std::string_view provider,
                bool answered) const
    {
        const auto operation = telemetry::gen_ai_operation(record_.route);
        if (operation.empty()) {
            return;
        }
        list.text("gen_ai.operation.name", operation);
        list.text("gen_ai.provider.name", provider);
        list.text("gen_ai.request.model", model);
        if (!answered) {
            return;
        }
        list.text("gen_ai.response.model", record_.served_model);
        list.texts("gen_ai.response.finish_reasons", record_.finish_reason);
        if (record_.usage.present) {
            list.number("gen_ai.usage.input_tokens", record_.usage.input);
            list.number("gen_ai.usage.output_tokens", record_.usage.output);
        }
    }

    std::string& out_;
    const AccessRecord& record_;
    const Trace& trace_;
    const std::int64_t zero_;
    const core::SteadyTime end_;
    bool first_ = true;
};

}  // namespace

std::string encode(std::span<const AccessRecord> records, const Resource& resource)
{
    std::string out = R"({"resourceSpans":[{"resource":{)";
    {
        Attributes list(out, "");
        list.text("service.name", resource.service_name);
        list.text("service.version", resource.version);
        list.text("service.instance.id", resource.instance);
    }
    out += R"(},"scopeSpans":[{"scope":{"name":"llm-proxy","version":)";
    append_quoted(out, resource.version);
    out += R"(},"spans":[)";
    bool first = true;
    for (const auto& record : records) {
        out += first ? "" : ",";
        first = false;
        Spans(out, record).write();
    }
    core::append_all(out, R"(],"schemaUrl":"https://opentelemetry.io/schemas/)",
                     telemetry::kSemanticConventions, R"("}]}]})");
    return out;
}

}  // namespace llmproxy::otlp
