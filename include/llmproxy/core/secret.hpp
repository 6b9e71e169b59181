#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// Text that must not be shown: prints as `***`, compares in constant time, is wiped when
/// destroyed. Value type; not thread-safe for writing.
class Secret {
public:
    Secret() = default;
    explicit Secret(std::string value) noexcept : value_(std::move(value)) {}
    Secret(const Secret&) = default;
    Secret(Secret&&) noexcept = default;
    Secret& operator=(const Secret&) = default;
    Secret& operator=(Secret&&) noexcept = default;
    ~Secret();

    /// The text itself, for the one place that sends it.
    [[nodiscard]] const std::string& reveal() const noexcept { return value_; }
    [[nodiscard]] bool empty() const noexcept { return value_.empty(); }

    friend bool operator==(const Secret& a, const Secret& b) noexcept;
    friend std::ostream& operator<<(std::ostream& out, const Secret& secret);

private:
    std::string value_;
};

/// Reads a key of 256 bits: 64 hexadecimal digits, or 32 bytes in base64. The result holds the 32
/// bytes themselves; nothing for any other text.
[[nodiscard]] std::optional<Secret> decode_key(std::string_view text);

/// Compares without telling by its duration where two texts differ. Lengths are not hidden.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

}  // namespace llmproxy::core
