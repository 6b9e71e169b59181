#include "llmproxy/http/target.hpp"

#include "hex.hpp"

namespace llmproxy::http {
namespace {

core::Failure refused(const char* why)
{
    return {core::Errc::bad_request, core::Origin::client, why};
}

/// Why `path` is refused, or nullptr. Counts dots per segment so that one pass is enough.
const char* wrong_path(std::string_view path) noexcept
{
    int dots = 0;           // of the segment so far
    bool only_dots = true;  // nothing but dots in it, up to a `;`
    bool ended = false;     // a `;` was seen in it
    for (std::size_t i = 1; i <= path.size(); ++i) {
        if (i == path.size() || path[i] == '/') {
            if (only_dots && (dots == 1 || dots == 2)) {
                return "path has a dot segment";
            }
            if (i < path.size() && path[i - 1] == '/') {
                return "path has an empty segment";
            }
            dots = 0;
            only_dots = true;
            ended = false;
            continue;
        }
        char c = path[i];
        if (c == '%') {
            const int high = i + 1 < path.size() ? hex_value(path[i + 1]) : -1;
            const int low = i + 2 < path.size() ? hex_value(path[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return "path has a broken percent escape";
            }
            const int value = high * 16 + low;
            if (value < 0x20 || value == 0x7f) {
                return "path has an encoded control character";
            }
            c = static_cast<char>(value);
            if (c == '/' || c == '\\') {
                return "path has an encoded slash";
            }
            i += 2;
        }
        if (c == '\\') {
            return "path has a backslash";
        }
        if (ended) {
            continue;
        }
        if (c == '.') {
            ++dots;
        } else if (c == ';') {
            ended = true;
        } else {
            only_dots = false;
        }
    }
    return nullptr;
}

}  // namespace

core::Result<Target> parse_origin_form(std::string_view target)
{
    if (target.empty() || target.front() != '/') {
        return refused("target is not in origin-form");
    }
    for (const char c : target) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte >= 0x7f || c == '#') {
            return refused("target has a character that must be encoded");
        }
    }
    Target parts;
    const auto mark = target.find('?');
    parts.path = target.substr(0, mark);
    if (mark != std::string_view::npos) {
        parts.query = target.substr(mark + 1);
        parts.has_query = true;
    }
    if (const char* const wrong = wrong_path(parts.path)) {
        return refused(wrong);
    }
    return parts;
}

}  // namespace llmproxy::http
