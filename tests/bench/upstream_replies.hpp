#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::bench {

/// What a request asks of an event stream.
struct StreamPlan {
    std::int64_t events = 1;
    std::int64_t interval_ns = 0;  ///< 0: as fast as the connection takes them
    std::int64_t silence_ns = 0;   ///< quiet time after the last event, before `[DONE]`
    bool with_usage = false;       ///< the request asks for `stream_options.include_usage`
};

/// The plan of a request with this body, or nothing if it does not ask for a stream.
///
/// Taken from `specification` (the request's `x-bench-sse` field) if there is one, else from the
/// model name behind `sse-`. Forms: `COUNT,INTERVAL_US` and `quiet,SECONDS`; a model name has `-`
/// in the comma's place, as in `sse-50-20000`. Without either: 20 events, 1 ms apart.
[[nodiscard]] std::optional<StreamPlan> stream_plan(std::string_view body,
                                                    std::optional<std::string_view> specification);

/// Complete replies, heads included; made once.
[[nodiscard]] const std::string& chat_reply();        ///< about 600 bytes of JSON, with usage
[[nodiscard]] const std::string& embeddings_reply();  ///< about 19 KB of JSON, with usage
[[nodiscard]] std::string json_reply(int status, std::string_view body);

[[nodiscard]] std::string_view stream_head();
/// One event in one chunk, stamped with `time_ns` as the member `t` (a string of 19 digits).
void append_event(std::string& out, std::int64_t time_ns);
/// The usage event (if planned), `[DONE]` and the last chunk.
void append_stream_end(std::string& out, bool with_usage);

}  // namespace llmproxy::bench
