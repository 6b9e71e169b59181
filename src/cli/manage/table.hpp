#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::cli::manage {

/// Columns of text, for people.
class Table {
public:
    explicit Table(std::vector<std::string> heads) : heads_(std::move(heads)) {}

    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
    /// Each column as wide as its widest cell; numbers stand to the right.
    void print(std::ostream& out) const;

private:
    std::vector<std::string> heads_;
    std::vector<std::vector<std::string>> rows_;
};

/// The text without what a terminal would obey: control characters become `?`.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace llmproxy::cli::manage
