#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/core/time_text.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace llmproxy::telemetry {

using core::append_milliseconds;
using core::append_number;
using core::append_time;

/// Appends `text` escaped for the inside of a JSON string. As core::append_json_escaped, but a run
/// that needs no escape is appended at once.
void append_escaped(std::string& out, std::string_view text);

/// Writes a JSON line at the end of a text by way of a buffer of its own, so that the text grows once, not with each
/// part. What is written counts once `finish` was called.
/// Keys are literals of at most kMostKey characters; those of texts end with the opening quote.
class LineWriter {
public:
    explicit LineWriter(std::string& out) noexcept : out_(out) {}
    LineWriter(const LineWriter&) = delete;
    LineWriter& operator=(const LineWriter&) = delete;

    /// As it is.
    template <std::size_t N>
    void raw(const char (&literal)[N])
    {
        static_assert(N - 1 <= kMostKey);
        need(kMostKey);
        put(literal);
    }
    /// At most kMostText characters, which are escaped, and the closing quote.
    template <std::size_t N>
    void text(const char (&key)[N], std::string_view value)
    {
        raw(key);
        inside(value);
    }
    template <std::size_t N, typename T>
    void number(const char (&key)[N], T value)
    {
        static_assert(N - 1 <= kMostKey);
        need(kMostKey + kMostDigits);
        put(key);
        at_ = std::to_chars(at_, at_ + kMostDigits, value).ptr;
    }
    template <std::size_t N>
    void milliseconds(const char (&key)[N], core::Duration value)
    {
        static_assert(N - 1 <= kMostKey);
        need(kMostKey + core::kMillisecondsSize);
        put(key);
        at_ = core::put_milliseconds(at_, value);
    }
    /// The time in quotes.
    template <std::size_t N>
    void time(const char (&key)[N], core::SystemTime value)
    {
        static_assert(N - 1 <= kMostKey);
        need(kMostKey + core::kTimeSize + 1);
        put(key);
        at_ = core::put_time(at_, value);
        *at_++ = '"';
    }
    void finish();

    static constexpr std::size_t kMostText = 2048;

private:
    static constexpr std::size_t kMostKey = 32;
    static constexpr std::size_t kMostDigits = 20;

    void need(std::size_t room)
    {
        if (static_cast<std::size_t>(buffer_.data() + buffer_.size() - at_) < room) {
            finish();
        }
    }
    template <std::size_t N>
    void put(const char (&literal)[N]) noexcept
    {
        std::memcpy(at_, literal, N - 1);
        at_ += N - 1;
    }
    void inside(std::string_view value);

    std::string& out_;
    std::array<char, 4096> buffer_;  // not set before it is used
    char* at_ = buffer_.data();
};

}  // namespace llmproxy::telemetry
