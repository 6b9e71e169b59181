#include "support/http_text.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace llmproxy::test {

bool same_text(std::string_view a, std::string_view b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
        return std::tolower(x) == std::tolower(y);
    });
}

bool has_text(std::string_view text, std::string_view part)
{
    return text.find(part) != std::string_view::npos;
}

std::optional<std::string> Head::find(std::string_view name) const
{
    for (const auto& field : fields) {
        if (same_text(field.name, name)) {
            return field.value;
        }
    }
    return std::nullopt;
}

std::string Head::operator[](std::string_view name) const
{
    return find(name).value_or("");
}

std::size_t Head::count(std::string_view name) const
{
    return static_cast<std::size_t>(std::count_if(
        fields.begin(), fields.end(), [&](const Field& f) { return same_text(f.name, name); }));
}

std::string Head::word(std::size_t index) const
{
    std::string_view rest = start_line;
    for (; index > 0; --index) {
        const auto space = rest.find(' ');
        if (space == std::string_view::npos) {
            return "";
        }
        rest.remove_prefix(space + 1);
    }
    return std::string(rest.substr(0, rest.find(' ')));
}

Head parse_head(std::string raw)
{
    Head head;
    std::string_view rest = raw;
    bool first = true;
    while (!rest.empty()) {
        const auto end = rest.find("\r\n");
        const auto line = rest.substr(0, end);
        if (first) {
            head.start_line = line;
        } else if (!line.empty()) {
            const auto colon = std::min(line.find(':'), line.size());
            auto value = line.substr(std::min(colon + 1, line.size()));
            while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
                value.remove_prefix(1);
            }
            while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) {
                value.remove_suffix(1);
            }
            head.fields.push_back({std::string(line.substr(0, colon)), std::string(value)});
        }
        first = false;
        if (end == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(end + 2);
    }
    head.raw = std::move(raw);
    return head;
}

std::string as_chunk(std::string_view bytes)
{
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    return size + std::string(bytes) + "\r\n";
}

std::string post_json(std::string_view target, std::string_view body, std::string_view more_fields)
{
    std::string text = "POST ";
    text.append(target).append(
        " HTTP/1.1\r\nHost: proxy.test\r\nContent-Type: application/json\r\n");
    text.append(more_fields);
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    return text.append(body);
}

std::string get(std::string_view target, std::string_view more_fields)
{
    std::string text = "GET ";
    text.append(target).append(" HTTP/1.1\r\nHost: proxy.test\r\n");
    return text.append(more_fields).append("\r\n");
}

}  // namespace llmproxy::test
