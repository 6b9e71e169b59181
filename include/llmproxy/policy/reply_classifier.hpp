#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/policy/retry_after.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace llmproxy::policy {

/// What kind of refusal an upstream's reply is.
enum class ReplyClass : std::uint8_t {
    transient,   ///< the upstream is in trouble; the same request may succeed later or elsewhere
    permanent,   ///< this request will never succeed
    rate_limit,  ///< too many requests or tokens; later
    auth,        ///< our key is not accepted
    quota,       ///< our key's money or quota is spent
    unknown      ///< an error that nothing is known of, or no error at all
};

/// Where the same request may go again, before anything was relayed. The attempt loop adds its own limits.
enum class RetryPermission : std::uint8_t {
    never,
    other_key,  ///< to another key of the same backend, else to another backend; not with this key
    anywhere    ///< to another backend, or to the same one after a delay
};

/// What a reply says. Views must stay valid during the call only.
struct ReplyFacts {
    unsigned status = 0;
    /// The body, or as much of its beginning as is there; at most kMaxClassifiedBody bytes are looked at.
    std::string_view body;
    RetryHeaders headers;
};

/// What the classifier made of a reply.
struct ReplyVerdict {
    ReplyClass reply_class = ReplyClass::unknown;
    RetryPermission permission = RetryPermission::never;
    /// The reply's status; of an error frame in a stream the status it stands for, 0 if that is not known.
    unsigned status = 0;
    /// When the upstream asks to be asked again.
    std::optional<core::Duration> retry_after;
    /// The key is to rest: 401, 402, 403, 429. Only the status decides that, because clients can have error texts
    /// repeat words of theirs.
    bool cools_key = false;

    friend bool operator==(const ReplyVerdict&, const ReplyVerdict&) = default;
};

/// How much of a body is looked at.
inline constexpr std::size_t kMaxClassifiedBody = std::size_t{64} * 1024;

/// Classifies a whole reply: by its status, refined by `error.type` and `error.code` of its JSON body in the shapes
/// of OpenAI, Azure, Anthropic, Gemini, vLLM, Ollama and llama.cpp, and if they say nothing by words in the body.
///
/// What may be sent again depends on the status alone, but for `insufficient_quota`, which is never sent again.
/// Pure: any thread, no state. Does not throw, whatever the bytes. A status below 400 gives `unknown` and `never`.
/// \param now  for dates in Retry-After.
[[nodiscard]] ReplyVerdict classify_reply(const ReplyFacts& facts, core::SystemTime now) noexcept;

/// Classifies the first block of an event stream (up to and with its blank line or not): none unless it is an error
/// frame: `event: error`, data with an `error` member that is not null, `response.failed`, or llama.cpp's `error:` line.
///
/// An error frame stands for the status that it names, as a number or by its type; one that names none is `unknown`
/// and may be sent again anywhere.
/// \param headers  of the reply that the frame is in.
[[nodiscard]] std::optional<ReplyVerdict>
classify_frame(std::string_view block, const RetryHeaders& headers, core::SystemTime now) noexcept;

/// `transient`, `rate_limit` ...: for logs.
[[nodiscard]] std::string_view to_string(ReplyClass reply_class) noexcept;

}  // namespace llmproxy::policy
