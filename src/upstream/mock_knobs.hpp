#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/upstream/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::upstream::mock {

/// How one reply is given: the settings of the provider, overridden by the knobs in the model name.
struct Knobs {
    core::Duration latency{0};
    core::Duration interval{0};
    std::uint32_t chunks = 8;
    std::uint32_t failing_millionths = 0;  ///< share of requests that fail
    std::uint16_t error_status = 500;
    bool error_frame = false;  ///< streams fail by their first event, not by status
    bool usage = true;
    std::optional<std::uint64_t>
        cut;  ///< events of a stream, or body bytes, before the connection is closed
    std::optional<std::uint64_t> bytes;  ///< length of the content
};

/// A model name taken apart at its `?`.
struct Model {
    std::string name;
    Knobs knobs;
};

[[nodiscard]] Knobs default_knobs(const MockSettings& settings);

/// Takes `name?key=value&...` apart.
/// Fails with Errc::bad_request, message and parameter for the client, when a knob is unknown or
/// out of bounds.
[[nodiscard]] core::Result<Model> parse_model(std::string_view text, const MockSettings& settings);

/// Whether the request number `turn` (from 1) is one of those that fail: the same ones in every
/// run, evenly spread.
[[nodiscard]] bool fails(std::uint64_t turn, std::uint32_t failing_millionths) noexcept;

}  // namespace llmproxy::upstream::mock
