#pragma once

#include <cstddef>
#include <optional>
#include <simdjson.h>
#include <string>
#include <string_view>

namespace llmproxy::openai::json {

namespace ondemand = simdjson::ondemand;

/// Documents up to this size use the thread's own parser; larger ones a parser that is freed afterwards.
inline constexpr std::size_t kReusedCapacity = std::size_t{256} * 1024;

/// A parser fit for a document of `size` bytes, and the storage for a temporary one.
class Parser {
public:
    explicit Parser(std::size_t size);
    [[nodiscard]] ondemand::parser& operator*() noexcept { return own_ ? *own_ : shared(); }

private:
    static ondemand::parser& shared();
    std::optional<ondemand::parser> own_;
};

/// Makes room for padding behind `text`, which keeps its size, and views it.
[[nodiscard]] simdjson::padded_string_view padded(std::string& text);

/// Visits every value, so that what On-Demand skips is validated too. Consumes `value`.
[[nodiscard]] simdjson::error_code validate(ondemand::value value, int depth = 0);

/// Whether a raw JSON string or key, without control characters, has only escapes that RFC 8259 knows.
[[nodiscard]] bool has_valid_escapes(std::string_view text) noexcept;

/// Takes `item`, one step through an object, apart; the key is unescaped only if it must be.
[[nodiscard]] simdjson::error_code read_field(simdjson::simdjson_result<ondemand::field> item,
                                              ondemand::field& field, std::string_view& key);

/// Whether `doc` has nothing behind its root value.
[[nodiscard]] bool at_end(ondemand::document& doc);

/// Position of the byte behind `"key"` + `:` + white space, from `from` on; npos if there is none.
/// Inside strings quotes are escaped, so that a match is a key. `key` is given with its quotes.
[[nodiscard]] std::size_t find_member(std::string_view text, std::string_view key,
                                      std::size_t from = 0) noexcept;

/// The first string value of member `key` in `text`, if it has no escapes and at most 256 characters.
[[nodiscard]] std::string_view string_member(std::string_view text, std::string_view key) noexcept;

/// The object that is the value of the last `key` which lies `levels` deep, when `text` is the end of a document.
[[nodiscard]] std::string_view last_object(std::string_view text, std::string_view key,
                                           int levels) noexcept;

}  // namespace llmproxy::openai::json
