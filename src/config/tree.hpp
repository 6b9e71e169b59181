#pragma once

#include "llmproxy/config/problem.hpp"
#include "llmproxy/config/snapshot.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::config {

/// A parsed YAML document, every part with its place. Aliases are copied out.
struct Tree {
    enum class Kind : std::uint8_t { null, scalar, list, map };
    struct Entry;

    Kind kind = Kind::null;
    std::string text;  ///< of scalars
    Mark mark;
    std::vector<Tree> items;     ///< of lists
    std::vector<Entry> entries;  ///< of maps, in order, duplicates included
};

struct Tree::Entry {
    std::string key;
    Mark mark;
    Tree value;
};

/// Parses one document; an empty one is null. What is wrong is appended to `problems`.
[[nodiscard]] Tree parse_yaml(std::string_view text, const std::string& file,
                              std::vector<Problem>& problems);

/// `a mapping`, `a list`, ... for messages.
[[nodiscard]] std::string_view describe(Tree::Kind kind) noexcept;

}  // namespace llmproxy::config
