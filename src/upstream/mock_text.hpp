#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::upstream::mock {

inline constexpr std::uint64_t kHashSeed = 0xcbf29ce484222325;

/// FNV-1a, 64 bits. Goes on from `seed`.
[[nodiscard]] std::uint64_t hash(std::string_view bytes, std::uint64_t seed = kHashSeed) noexcept;

/// SplitMix64: a well-spread number for each `index` of a sequence.
[[nodiscard]] std::uint64_t scatter(std::uint64_t seed, std::uint64_t index) noexcept;

/// `<prefix>mock` and 24 hex digits of hash and sequence number.
[[nodiscard]] std::string make_id(std::string_view prefix, std::uint64_t hashed,
                                  std::uint64_t sequence);

/// The token rule of the mock provider: four bytes are one token, rounded up.
[[nodiscard]] constexpr std::uint64_t tokens_of(std::uint64_t bytes) noexcept
{
    return bytes / 4 + (bytes % 4 != 0 ? 1 : 0);
}

/// At most the first `limit` bytes of a UTF-8 text, ending between characters.
[[nodiscard]] std::string_view clip(std::string_view text, std::size_t limit) noexcept;

/// `count` bytes of ASCII text.
[[nodiscard]] std::string filler(std::size_t count);

/// A text in pieces of about the same length, split between UTF-8 characters.
class Pieces {
public:
    Pieces() = default;
    /// \param count  pieces wanted; there are fewer if the text has fewer characters.
    Pieces(std::string text, std::uint32_t count);

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] std::uint64_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] std::string_view piece(std::uint64_t index) const noexcept;

private:
    std::string text_;
    std::vector<std::size_t> ends_;
};

/// Characters of a UTF-8 text.
[[nodiscard]] std::size_t characters(std::string_view text) noexcept;

}  // namespace llmproxy::upstream::mock
