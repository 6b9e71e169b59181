#include "table.hpp"

#include <algorithm>

namespace llmproxy::cli::manage {
namespace {

bool continues(char c) noexcept
{
    return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U;
}

/// Characters of a text; a wide one counts as one.
std::size_t width_of(const std::string& text)
{
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

bool is_number(const std::string& text)
{
    return !text.empty() && text.find_first_not_of("0123456789.-") == std::string::npos &&
           text.find_first_of("0123456789") != std::string::npos &&
           std::count(text.begin(), text.end(), '-') <= (text.front() == '-' ? 1 : 0);
}

}  // namespace

void Table::print(std::ostream& out) const
{
    std::vector<std::size_t> widths;
    for (const auto& head : heads_) {
        widths.push_back(width_of(head));
    }
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], width_of(row[i]));
        }
    }
    const auto line = [&](const std::vector<std::string>& cells, bool head) {
        std::string text;
        for (std::size_t i = 0; i < cells.size() && i < widths.size(); ++i) {
            const std::string space(widths[i] - width_of(cells[i]), ' ');
            text += i == 0 ? "" : "  ";
            text += !head && is_number(cells[i]) ? space + cells[i] : cells[i] + space;
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out << text << "\n";
    };
    line(heads_, true);
    for (const auto& row : rows_) {
        line(row, false);
    }
}

std::string printable(std::string_view text)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const bool c1 =
            byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
        if (c1) {
            ++i;  // U+0080 to U+009F
        }
        out += c1 || byte < 0x20 || byte == 0x7f ? '?' : text[i];
    }
    return out;
}

}  // namespace llmproxy::cli::manage
