#pragma once

#include "llmproxy/http/head.hpp"
#include "llmproxy/upstream/settings.hpp"

#include "mock_form.hpp"
#include "mock_knobs.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::upstream::mock {

/// One request, read to its end.
struct Call {
    std::string method;
    std::string path;          ///< without the query
    std::string body;          ///< of JSON routes
    std::optional<Form> form;  ///< of multipart routes
    std::uint64_t sequence = 0;
    std::int64_t created = 0;  ///< Unix time, seconds
};

/// What to send, and how.
struct Reply {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string fields;  ///< further complete field lines
    std::string body;    ///< the content, unless it comes in pieces
    std::uint64_t pieces = 0;
    std::function<std::string(std::uint64_t)>
        piece;  ///< when set: one chunk for each index below `pieces`
    Knobs knobs;
};

/// What a body is kept as while it arrives.
enum class BodyUse : std::uint8_t { json, form, none };

[[nodiscard]] BodyUse body_use(std::string_view method, std::string_view path) noexcept;

/// The answer to a call. Waits for nothing; text that is not as the route wants it gives an error
/// reply.
/// \param shares  counts the requests that could have failed by their error rate.
[[nodiscard]] Reply answer(const Call& call, const MockSettings& settings,
                           std::atomic<std::uint64_t>& shares);

/// An error reply in OpenAI's shape; `type` and `code` follow from the status.
[[nodiscard]] Reply error_reply(unsigned status, std::string_view message,
                                std::string_view param = {});

}  // namespace llmproxy::upstream::mock
