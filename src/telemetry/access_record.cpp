#include "llmproxy/telemetry/access_record.hpp"

#include "line_format.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr std::size_t kMaxPath = LineWriter::kMostText;
constexpr std::size_t kMaxText = 512;

std::string_view logged_path(const AccessRecord& record) noexcept
{
    const std::string_view path = record.path;
    return path.substr(0, std::min({path.find('?'), path.find('#'), kMaxPath}));
}

template <std::size_t N>
void json_text(LineWriter& line, const char (&key)[N], std::string_view value)
{
    if (!value.empty()) {
        line.text(key, value.substr(0, kMaxText));
    }
}

/// Left out when zero: few replies have any.
template <std::size_t N>
void json_count(LineWriter& line, const char (&key)[N], std::uint64_t value)
{
    if (value != 0) {
        line.number(key, value);
    }
}

template <std::size_t N>
void json_duration(LineWriter& line, const char (&key)[N], core::Duration value)
{
    if (value >= core::Duration::zero()) {
        line.milliseconds(key, value);
    }
}

/// The attempts of a request that made several.
void json_tries(LineWriter& line, const std::vector<AttemptRecord>& tries)
{
    line.raw(R"(,"tries":[)");
    for (const auto& one : tries) {
        if (&one != &tries.front()) {
            line.raw(",");
        }
        line.text(R"({"backend":")", one.backend);
        line.number(R"(,"key":)", one.key);
        json_text(line, R"(,"outcome":")", one.outcome);
        if (one.status != 0) {
            line.number(R"(,"status":)", one.status);
        }
        json_duration(line, R"(,"waited_ms":)", one.waited);
        json_text(line, R"(,"circuit":")", one.circuit);
        line.number(R"(,"bytes_sent":)", one.bytes_sent);
        json_duration(line, R"(,"duration_ms":)", one.duration);
        line.raw("}");
    }
    line.raw("]");
}

void envoy_quoted(std::string& out, std::string_view value)
{
    out += " \"";
    append_escaped(out, value.empty() ? "-" : value.substr(0, kMaxText));
    out += '"';
}

void envoy_milliseconds(std::string& out, core::Duration value)
{
    if (value < core::Duration::zero()) {
        out += '-';
    } else {
        append_number(out, std::chrono::duration_cast<std::chrono::milliseconds>(value).count());
    }
}

}  // namespace

std::string_view envoy_response_flags(std::string_view outcome) noexcept
{
    using Row = std::pair<std::string_view, std::string_view>;
    static constexpr std::array kRows{
        Row{"ok", "-"},
        Row{"client_gone", "DC"},
        Row{"upstream_timeout", "UT"},
        Row{"upstream_connect_failed", "UF"},
        Row{"upstream_tls_failed", "UF"},
        Row{"upstream_reset", "UC"},
        Row{"upstream_bad_response", "UPE"},
        Row{"overloaded", "UO"},
        Row{"circuit_open", "UH"},
        Row{"rate_limit_exceeded", "RL"},
        Row{"insufficient_quota", "RL"},
        Row{"not_found", "NR"},
        Row{"method_not_allowed", "NR"},
        Row{"model_not_found", "NR"},
        Row{"invalid_api_key", "UAEX"},
        Row{"model_not_allowed", "UAEX"},
        Row{"destination_not_allowed", "UAEX"},
        Row{"route_not_allowed", "UAEX"},
        Row{"bad_request", "DPE"},
        Row{"headers_too_large", "DPE"},
        Row{"request_timeout", "SI"},
        Row{"draining", "LR"},
        Row{"cancelled", "LR"},
        Row{"internal_error", "LR"},
    };
    for (const auto& [word, flags] : kRows) {
        if (word == outcome) {
            return flags;
        }
    }
    return "-";
}

void append_json_line(std::string& out, const AccessRecord& record)
{
    LineWriter line(out);
    line.time(R"({"time":")", record.start);
    json_text(line, R"(,"request_id":")", record.request_id);
    json_text(line, R"(,"client":")", record.client);
    json_text(line, R"(,"forwarded_for":")", record.forwarded_for);
    json_text(line, R"(,"listener":")", record.listener);
    json_text(line, R"(,"method":")", record.method);
    json_text(line, R"(,"authority":")", record.authority);
    if (const auto path = logged_path(record); !path.empty()) {
        line.text(R"(,"path":")", path);
    }
    json_text(line, R"(,"protocol":")", record.protocol);
    json_text(line, R"(,"user_agent":")", record.user_agent);
    json_text(line, R"(,"route":")", record.route);
    json_text(line, R"(,"model":")", record.model);
    json_text(line, R"(,"served_model":")", record.served_model);
    json_text(line, R"(,"project":")", record.project);
    json_text(line, R"(,"token":")", record.token);
    json_text(line, R"(,"backend":")", record.backend);
    json_text(line, R"(,"upstream":")", record.upstream);
    line.number(R"(,"status":)", record.status);
    json_text(line, R"(,"outcome":")", record.outcome);
    json_text(line, R"(,"error":")", record.error);
    line.number(R"(,"attempts":)", record.attempts);
    if (!record.tries.empty()) {
        json_tries(line, record.tries);
    }
    line.number(R"(,"bytes_in":)", record.bytes_in);
    line.number(R"(,"bytes_out":)", record.bytes_out);
    record.stream ? line.raw(R"(,"stream":true)") : line.raw(R"(,"stream":false)");
    json_text(line, R"(,"tunnel":")", record.tunnel);
    if (record.usage.present) {
        line.number(R"(,"input_tokens":)", record.usage.input);
        line.number(R"(,"output_tokens":)", record.usage.output);
        line.number(R"(,"cached_tokens":)", record.usage.cached);
        line.number(R"(,"reasoning_tokens":)", record.usage.reasoning);
        json_count(line, R"(,"cache_write_tokens":)", record.usage.cache_write);
        json_count(line, R"(,"audio_input_tokens":)", record.usage.audio_input);
        json_count(line, R"(,"audio_output_tokens":)", record.usage.audio_output);
    }
    json_text(line, R"(,"finish_reason":")", record.finish_reason);
    json_duration(line, R"(,"duration_ms":)", record.times.total);
    json_duration(line, R"(,"first_piece_ms":)", record.times.first_piece);
    json_duration(line, R"(,"upstream_first_byte_ms":)", record.times.upstream_first_byte);
    json_duration(line, R"(,"proxy_ms":)", record.times.proxy);
    json_duration(line, R"(,"queue_ms":)", record.times.queue);
    line.raw("}\n");
    line.finish();
}

void append_envoy_line(std::string& out, const AccessRecord& record)
{
    const auto word = [&out](std::string_view value) {
        append_escaped(out, value.empty() ? "-" : value.substr(0, kMaxText));
    };
    out += '[';
    append_time(out, record.start);
    out += "] \"";
    word(record.method);
    out += ' ';
    const auto path = logged_path(record);
    append_escaped(out, path.empty() ? "-" : path);
    out += ' ';
    word(record.protocol);
    out += "\" ";
    append_number(out, record.status);
    out += ' ';
    word(record.response_flags.empty() ? envoy_response_flags(record.outcome)
                                       : record.response_flags);
    out += ' ';
    append_number(out, record.bytes_in);
    out += ' ';
    append_number(out, record.bytes_out);
    out += ' ';
    envoy_milliseconds(out, record.times.total);
    out += ' ';
    envoy_milliseconds(out, record.times.upstream_first_byte);
    envoy_quoted(out, record.forwarded_for);
    envoy_quoted(out, record.user_agent);
    envoy_quoted(out, record.request_id);
    envoy_quoted(out, record.authority);
    envoy_quoted(out, record.upstream);
    out += '\n';
}

}  // namespace llmproxy::telemetry
