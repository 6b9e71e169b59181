#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::test {

struct Field {
    std::string name;
    std::string value;
};

/// The head of a message as it came: the lines, and what they say.
struct Head {
    std::string raw;  ///< with the empty line
    std::string start_line;
    std::vector<Field> fields;

    /// The first field of that name, any case; empty if there is none.
    [[nodiscard]] std::string operator[](std::string_view name) const;
    [[nodiscard]] std::optional<std::string> find(std::string_view name) const;
    [[nodiscard]] std::size_t count(std::string_view name) const;
    /// `word` of the start line, from 0.
    [[nodiscard]] std::string word(std::size_t index) const;
};

/// Takes the head apart without judging it.
[[nodiscard]] Head parse_head(std::string raw);

[[nodiscard]] bool same_text(std::string_view a, std::string_view b);
[[nodiscard]] bool has_text(std::string_view text, std::string_view part);
/// `bytes` as one chunk of a chunked body.
[[nodiscard]] std::string as_chunk(std::string_view bytes);
/// A POST of JSON to `target`.
[[nodiscard]] std::string post_json(std::string_view target, std::string_view body,
                                    std::string_view more_fields = {});
[[nodiscard]] std::string get(std::string_view target, std::string_view more_fields = {});

}  // namespace llmproxy::test
