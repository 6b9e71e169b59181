#pragma once

#include "llmproxy/core/secret.hpp"
#include "llmproxy/core/sha256.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy::accounts {

/// What every token begins with.
inline constexpr std::string_view kTokenStart = "llmp_";
/// 256 bits in base 62, always so many digits.
inline constexpr std::size_t kTokenDigits = 43;
inline constexpr std::size_t kTokenLength = kTokenStart.size() + kTokenDigits;
/// How much of a token is kept to recognise it by: six digits of 43.
inline constexpr std::size_t kTokenPrefixLength = kTokenStart.size() + 6;

/// A token just made. Its text is shown once and kept nowhere.
struct NewToken {
    core::Secret text;
    core::Sha256 hash;   ///< what is stored
    std::string prefix;  ///< to recognise it by
};

/// Makes a token of 256 random bits. Throws std::runtime_error when the random generator fails.
[[nodiscard]] NewToken make_token();

/// Whether a text has a token's form; only such are looked up in the store.
[[nodiscard]] bool has_token_form(std::string_view text) noexcept;

}  // namespace llmproxy::accounts
