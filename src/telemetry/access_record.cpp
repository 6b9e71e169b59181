#include "llmproxy/telemetry/access_record.hpp"

#include "access_fields.hpp"
#include "line_format.hpp"

#include <array>
#include <utility>

namespace llmproxy::telemetry {
namespace {

void envoy_quoted(std::string& out, std::string_view value)
{
    out += " \"";
    append_escaped(out, value.empty() ? "-" : value.substr(0, kMostLoggedText));
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

bool has_trouble(const AccessRecord& record) noexcept
{
    return record.outcome != "ok" || record.status >= 400 || !record.refused_as.empty() ||
           !record.tries.empty();
}

core::Duration time_to_answer(const AccessRecord& record) noexcept
{
    if (!record.tunnel.empty()) {
        return core::Duration::zero();
    }
    const auto first = record.times.first_piece;
    return record.stream && first >= core::Duration::zero() ? first : record.times.total;
}

void append_envoy_line(std::string& out, const AccessRecord& record)
{
    const auto word = [&out](std::string_view value) {
        append_escaped(out, value.empty() ? "-" : value.substr(0, kMostLoggedText));
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
