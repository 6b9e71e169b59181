#include "llmproxy/telemetry/access_record.hpp"

#include "line_format.hpp"

#include <array>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr std::size_t kMaxPath = 2048;
constexpr std::size_t kMaxText = 512;

std::string_view logged_path(const AccessRecord& record) noexcept
{
    const std::string_view path = record.path;
    return path.substr(0, path.find_first_of("?#")).substr(0, kMaxPath);
}

void json_text(std::string& out, std::string_view key, std::string_view value)
{
    if (!value.empty()) {
        append_text_member(out, key, value.substr(0, kMaxText));
    }
}

template <typename T>
void json_number(std::string& out, std::string_view key, T value)
{
    out += key;
    append_number(out, value);
}

/// Left out when zero: few replies have any.
void json_count(std::string& out, std::string_view key, std::uint64_t value)
{
    if (value != 0) {
        json_number(out, key, value);
    }
}

void json_duration(std::string& out, std::string_view key, core::Duration value)
{
    if (value >= core::Duration::zero()) {
        out += key;
        append_milliseconds(out, value);
    }
}

/// The attempts of a request that made several.
void json_tries(std::string& out, const std::vector<AttemptRecord>& tries)
{
    out += R"(,"tries":[)";
    for (const auto& one : tries) {
        out += &one == &tries.front() ? "{" : ",{";
        append_text_member(out, R"("backend":")", one.backend);
        json_number(out, R"(,"key":)", one.key);
        json_text(out, R"(,"outcome":")", one.outcome);
        if (one.status != 0) {
            json_number(out, R"(,"status":)", one.status);
        }
        json_duration(out, R"(,"waited_ms":)", one.waited);
        json_text(out, R"(,"circuit":")", one.circuit);
        json_number(out, R"(,"bytes_sent":)", one.bytes_sent);
        json_duration(out, R"(,"duration_ms":)", one.duration);
        out += '}';
    }
    out += ']';
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
    out += R"({"time":")";
    append_time(out, record.start);
    out += '"';
    json_text(out, R"(,"request_id":")", record.request_id);
    json_text(out, R"(,"client":")", record.client);
    json_text(out, R"(,"forwarded_for":")", record.forwarded_for);
    json_text(out, R"(,"listener":")", record.listener);
    json_text(out, R"(,"method":")", record.method);
    json_text(out, R"(,"authority":")", record.authority);
    if (const auto path = logged_path(record); !path.empty()) {
        append_text_member(out, R"(,"path":")", path);
    }
    json_text(out, R"(,"protocol":")", record.protocol);
    json_text(out, R"(,"user_agent":")", record.user_agent);
    json_text(out, R"(,"route":")", record.route);
    json_text(out, R"(,"model":")", record.model);
    json_text(out, R"(,"served_model":")", record.served_model);
    json_text(out, R"(,"project":")", record.project);
    json_text(out, R"(,"token":")", record.token);
    json_text(out, R"(,"backend":")", record.backend);
    json_text(out, R"(,"upstream":")", record.upstream);
    json_number(out, R"(,"status":)", record.status);
    json_text(out, R"(,"outcome":")", record.outcome);
    json_text(out, R"(,"error":")", record.error);
    json_number(out, R"(,"attempts":)", record.attempts);
    if (!record.tries.empty()) {
        json_tries(out, record.tries);
    }
    json_number(out, R"(,"bytes_in":)", record.bytes_in);
    json_number(out, R"(,"bytes_out":)", record.bytes_out);
    out += record.stream ? R"(,"stream":true)" : R"(,"stream":false)";
    json_text(out, R"(,"tunnel":")", record.tunnel);
    if (record.usage.present) {
        json_number(out, R"(,"input_tokens":)", record.usage.input);
        json_number(out, R"(,"output_tokens":)", record.usage.output);
        json_number(out, R"(,"cached_tokens":)", record.usage.cached);
        json_number(out, R"(,"reasoning_tokens":)", record.usage.reasoning);
        json_count(out, R"(,"cache_write_tokens":)", record.usage.cache_write);
        json_count(out, R"(,"audio_input_tokens":)", record.usage.audio_input);
        json_count(out, R"(,"audio_output_tokens":)", record.usage.audio_output);
    }
    json_text(out, R"(,"finish_reason":")", record.finish_reason);
    json_duration(out, R"(,"duration_ms":)", record.times.total);
    json_duration(out, R"(,"first_piece_ms":)", record.times.first_piece);
    json_duration(out, R"(,"upstream_first_byte_ms":)", record.times.upstream_first_byte);
    json_duration(out, R"(,"proxy_ms":)", record.times.proxy);
    json_duration(out, R"(,"queue_ms":)", record.times.queue);
    out += "}\n";
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
