#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/telemetry/trace.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

/// Tokens of one exchange as the upstream reported them.
struct TokenUsage {
    bool present = false;  ///< false: the upstream reported nothing, the figures say nothing
    std::uint64_t input = 0;
    std::uint64_t output = 0;
    std::uint64_t cached = 0;        ///< part of input: read from a cache
    std::uint64_t reasoning = 0;     ///< part of output
    std::uint64_t cache_write = 0;   ///< part of input: written to a cache
    std::uint64_t audio_input = 0;   ///< part of input
    std::uint64_t audio_output = 0;  ///< part of output
};

/// How long the parts of one exchange took. Negative: that part did not happen.
struct ExchangeTimes {
    core::Duration total{0};                 ///< head complete to last byte written
    core::Duration upstream_first_byte{-1};  ///< request sent to first byte of the upstream's head
    core::Duration proxy{-1};                ///< the proxy's own share
    core::Duration queue{-1};                ///< waiting for admission
    core::Duration first_piece{-1};  ///< head complete to the first byte of a reply's body written
    core::Duration attempt_at{-1};   ///< head complete to the only attempt's request being sent
};

/// One attempt at a backend, as the line of a request tells that made several.
struct AttemptRecord {
    std::string backend;
    std::uint32_t key = 0;     ///< index among the backend's keys
    std::string_view outcome;  ///< "ok", a class of refusals, or core::ErrorInfo::code; static text
    std::uint16_t status = 0;  ///< of the reply; 0: none came
    core::Duration waited{0};  ///< before it was sent
    std::string_view circuit;  ///< the backend's, when it had ended; static text
    std::uint64_t bytes_sent = 0;
    core::Duration duration{0};
};

/// Everything one line of the access log says, and all that metrics need to know of a finished
/// request.
///
/// A plain value, filled while the request runs and closed exactly once. Nothing in it is escaped:
/// the formatters do that. Secrets have no place in it.
struct AccessRecord {
    core::SystemTime start;
    std::string request_id;

    std::string client;         ///< address of who called, as far as trusted proxies are believed
    std::string forwarded_for;  ///< X-Forwarded-For as received
    std::string authority;      ///< Host or :authority
    std::string user_agent;
    std::string_view protocol;  ///< "HTTP/1.1"; static text
    std::string method;
    std::string path;  ///< without query; a line holds 2 KiB of it at most

    std::string listener;  ///< configured name
    /// A word of a closed set: "chat_completions", "connect", ...; static text.
    std::string_view route;
    std::string model;          ///< as the client named it
    std::string served_model;   ///< as the upstream named it in its reply
    std::string finish_reason;  ///< why generation ended, in the upstream's word
    std::string project;        ///< its name; empty for tokens of the configuration
    std::string token;          ///< the token's configured name, never the token
    std::string backend;        ///< configured name; empty when none was chosen
    std::string_view provider;  ///< of that backend; static text
    std::string upstream;       ///< host:port of that backend, as configured

    std::uint16_t status = 0;         ///< of the answer; 0: none was written
    std::string_view outcome = "ok";  ///< core::ErrorInfo::code, or "ok"; static text
    std::string_view
        refused_as{};  ///< class of an upstream's refusal that was passed on; static text
    std::string_view response_flags{};  ///< Envoy's words; empty: from `outcome`; static text
    std::string error;                  ///< detail for the log only
    std::uint32_t attempts = 0;         ///< at backends, free repeats not counted
    std::vector<AttemptRecord> tries;   ///< each of them, if there was more than one
    /// \name Of the only attempt, if there was one at a backend
    /// @{
    std::uint32_t key = 0;            ///< index among the backend's keys
    std::string_view circuit{};       ///< the backend's, when it had ended; static text
    std::uint64_t attempt_bytes = 0;  ///< sent
    /// @}
    std::uint64_t bytes_in = 0;   ///< of the request's body
    std::uint64_t bytes_out = 0;  ///< of the answer's body
    bool stream = false;          ///< the answer was an event stream, or a tunnel
    /// How a tunnel ended, or "open" in a line about one that lasts; empty: no tunnel. Static text.
    std::string_view tunnel{};
    TokenUsage usage;
    core::NanoUsd cost;  ///< of all attempts, as it was settled; 0 without a store
    ExchangeTimes times;
    bool slow = false;             ///< it took longer than `logging.slow_request_threshold`
    std::shared_ptr<Trace> trace;  ///< null unless traces are exported
};

/// Whether something went wrong: an error made here, an upstream's refusal, a failed attempt.
[[nodiscard]] bool has_trouble(const AccessRecord& record) noexcept;

/// How long it took as `logging.slow_request_threshold` measures it: of a stream until its first
/// piece, of a tunnel nothing.
[[nodiscard]] core::Duration time_to_answer(const AccessRecord& record) noexcept;

/// Envoy's %RESPONSE_FLAGS% word of an outcome word; "-" when it has none.
[[nodiscard]] std::string_view envoy_response_flags(std::string_view outcome) noexcept;

/// Appends `record` as one line of JSON with its newline. Text that does not apply is left out.
/// Times are UTC with milliseconds (RFC 3339), durations milliseconds with three decimals.
void append_json_line(std::string& out, const AccessRecord& record);

/// Appends `record` as one line, with its newline, in the field order of Envoy's default format.
void append_envoy_line(std::string& out, const AccessRecord& record);

}  // namespace llmproxy::telemetry
