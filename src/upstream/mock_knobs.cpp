#include "mock_knobs.hpp"

#include "llmproxy/core/number.hpp"

#include <charconv>
#include <chrono>
#include <cmath>

namespace llmproxy::upstream::mock {
namespace {

constexpr std::uint32_t kMillion = 1'000'000;
constexpr std::uint64_t kMaxChunks = 1'000'000;
constexpr std::uint64_t kMaxBytes = std::uint64_t{64} * 1024 * 1024;
constexpr std::uint64_t kAnyCount = std::uint64_t{1} << 53;
constexpr core::Duration kMaxWait = std::chrono::hours(1);

/// What a value may be, for the message; empty when it was fine.
using Expectation = std::string_view;

std::uint32_t to_millionths(double share) noexcept
{
    return static_cast<std::uint32_t>(std::lround(share * kMillion));
}

std::optional<std::uint64_t> parse_count(std::string_view text, std::uint64_t low,
                                         std::uint64_t high)
{
    const auto value = core::parse_number<std::uint64_t>(text);
    return value && *value >= low && *value <= high ? value : std::nullopt;
}

std::optional<core::Duration> parse_wait(std::string_view text)
{
    const auto digits = text.find_first_not_of("0123456789");
    if (digits == std::string_view::npos) {
        return std::nullopt;
    }
    const auto unit = text.substr(digits);
    core::Duration step{};
    if (unit == "us") {
        step = std::chrono::microseconds(1);
    } else if (unit == "ms") {
        step = std::chrono::milliseconds(1);
    } else if (unit == "s") {
        step = std::chrono::seconds(1);
    } else {
        return std::nullopt;
    }
    const auto most = static_cast<std::uint64_t>(kMaxWait / step);
    const auto count = parse_count(text.substr(0, digits), 0, most);
    if (!count) {
        return std::nullopt;
    }
    return step * static_cast<core::Duration::rep>(*count);
}

std::optional<double> parse_share(std::string_view text)
{
    double value = 0;
    const auto* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
    if (error != std::errc() || stop != end || !(value >= 0.0 && value <= 1.0)) {
        return std::nullopt;
    }
    return value;
}

template <typename Parsed, typename Target>
bool assign(const Parsed& parsed, Target& target)
{
    if (parsed) {
        target = static_cast<Target>(*parsed);
    }
    return parsed.has_value();
}

bool assign_flag(std::string_view text, bool& target)
{
    target = text == "1";
    return text == "0" || text == "1";
}

Expectation set_knob(std::string_view key, std::string_view value, Knobs& knobs,
                     std::optional<double>& share)
{
    constexpr Expectation kFine;
    if (key == "latency") {
        return assign(parse_wait(value), knobs.latency) ? kFine
                                                        : "a duration such as 20ms, up to 3600s";
    }
    if (key == "interval") {
        return assign(parse_wait(value), knobs.interval) ? kFine
                                                         : "a duration such as 5ms, up to 3600s";
    }
    if (key == "chunks") {
        return assign(parse_count(value, 1, kMaxChunks), knobs.chunks) ? kFine : "1 to 1000000";
    }
    if (key == "error") {
        return assign(parse_count(value, 400, 599), knobs.error_status)
                   ? kFine
                   : "a status from 400 to 599";
    }
    if (key == "error_rate") {
        share = parse_share(value);
        return share ? kFine : "a share from 0 to 1";
    }
    if (key == "error_frame") {
        return assign_flag(value, knobs.error_frame) ? kFine : "0 or 1";
    }
    if (key == "usage") {
        return assign_flag(value, knobs.usage) ? kFine : "0 or 1";
    }
    if (key == "cut") {
        knobs.cut = parse_count(value, 0, kAnyCount);
        return knobs.cut ? kFine : "a number of events or bytes";
    }
    if (key == "bytes") {
        knobs.bytes = parse_count(value, 0, kMaxBytes);
        return knobs.bytes ? kFine : "0 to 67108864";
    }
    return "one of latency, interval, chunks, error, error_rate, error_frame, usage, cut, bytes";
}

}  // namespace

Knobs default_knobs(const MockSettings& settings)
{
    Knobs knobs;
    knobs.latency = settings.latency;
    knobs.interval = settings.chunk_interval;
    knobs.chunks = settings.chunks == 0 ? 1 : settings.chunks;
    knobs.failing_millionths = to_millionths(settings.error_rate);
    knobs.error_status = settings.error_status;
    return knobs;
}

core::Result<Model> parse_model(std::string_view text, const MockSettings& settings)
{
    Model model;
    model.knobs = default_knobs(settings);
    const auto mark = text.find('?');
    model.name = text.substr(0, mark);
    if (mark == std::string_view::npos) {
        return model;
    }

    std::optional<double> share;
    bool always = false;
    auto rest = text.substr(mark + 1);
    while (!rest.empty()) {
        const auto end = rest.find('&');
        const auto pair = rest.substr(0, end);
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        const auto equals = pair.find('=');
        const auto key = pair.substr(0, equals);
        const auto value =
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        const auto expected = set_knob(key, value, model.knobs, share);
        if (!expected.empty()) {
            core::Failure failure(core::Errc::bad_request, core::Origin::client);
            failure.say("Bad knob '" + std::string(key) + "' of the mock model: expected " +
                        std::string(expected) + ".");
            failure.at("model");
            return failure;
        }
        always = always || key == "error" || (key == "error_frame" && model.knobs.error_frame);
    }
    if (share) {
        model.knobs.failing_millionths = to_millionths(*share);
    } else if (always) {
        model.knobs.failing_millionths = kMillion;
    }
    return model;
}

bool fails(std::uint64_t turn, std::uint32_t failing_millionths) noexcept
{
    // Bresenham's line: the whole part of turn * share grows exactly at the failing turns.
    return turn * failing_millionths / kMillion != (turn - 1) * failing_millionths / kMillion;
}

}  // namespace llmproxy::upstream::mock
