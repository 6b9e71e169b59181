#include "json.hpp"

#include <cstring>

namespace llmproxy::openai::json {
namespace {

constexpr int kMaxDepth = 512;
constexpr std::string_view kWhite = " \t\r\n";

std::string_view strip_end(std::string_view token) noexcept
{
    const auto last = token.find_last_not_of(kWhite);
    return token.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

/// The number grammar of RFC 8259, section 6.
bool is_number(std::string_view token) noexcept
{
    std::size_t i = 0;
    const auto digits = [&] {
        const auto from = i;
        while (i < token.size() && is_digit(token[i])) {
            ++i;
        }
        return i > from;
    };
    if (i < token.size() && token[i] == '-') {
        ++i;
    }
    if (i < token.size() && token[i] == '0') {
        ++i;
    } else if (!digits()) {
        return false;
    }
    if (i < token.size() && token[i] == '.') {
        ++i;
        if (!digits()) {
            return false;
        }
    }
    if (i < token.size() && (token[i] | 0x20) == 'e') {
        ++i;
        if (i < token.size() && (token[i] == '+' || token[i] == '-')) {
            ++i;
        }
        if (!digits()) {
            return false;
        }
    }
    return i == token.size();
}

/// Depth of the end of `text` relative to its start, which must lie outside strings; `first` becomes the length
/// of the object that `text` begins with, if it does.
int depth_change(std::string_view text, std::size_t& first) noexcept
{
    int depth = 0;
    first = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        switch (text[i]) {
        case '"':
            for (++i; i < text.size() && text[i] != '"'; ++i) {
                if (text[i] == '\\') {
                    ++i;
                }
            }
            break;
        case '{':
        case '[': ++depth; break;
        case '}':
        case ']':
            if (--depth == 0 && first == 0) {
                first = i + 1;
            }
            break;
        default: break;
        }
    }
    return depth;
}

}  // namespace

Parser::Parser(std::size_t size)
{
    if (size > kReusedCapacity) {
        own_.emplace();
    }
}

ondemand::parser& Parser::shared()
{
    thread_local ondemand::parser parser;
    return parser;
}

simdjson::padded_string_view padded(std::string& text)
{
    if (text.capacity() < text.size() + simdjson::SIMDJSON_PADDING) {
        text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    }
    return simdjson::padded_string_view(text.data(), text.size(), text.capacity());
}

bool has_valid_escapes(std::string_view text) noexcept
{
    constexpr std::string_view kKnown = "\"\\/bfnrt";
    constexpr std::string_view kHex = "0123456789abcdefABCDEF";
    std::size_t at = 0;
    while (at < text.size()) {
        const void* const found = std::memchr(text.data() + at, '\\', text.size() - at);
        if (found == nullptr) {
            return true;
        }
        at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) + 1;
        if (at >= text.size()) {
            return false;
        }
        if (text[at] == 'u') {
            const auto digits = text.substr(at + 1, 4);
            if (digits.size() != 4 || digits.find_first_not_of(kHex) != std::string_view::npos) {
                return false;
            }
            at += 5;
        } else if (kKnown.find(text[at]) == std::string_view::npos) {
            return false;
        } else {
            ++at;
        }
    }
    return true;
}

simdjson::error_code read_field(simdjson::simdjson_result<ondemand::field> item,
                                ondemand::field& field, std::string_view& key)
{
    if (const auto error = std::move(item).get(field)) {
        return error;
    }
    const char* const raw = field.key().raw();
    const char* const quote = static_cast<const char*>(rawmemchr(raw, '"'));
    key = {raw, static_cast<std::size_t>(quote - raw)};
    if (key.find('\\') == std::string_view::npos) {
        return simdjson::SUCCESS;
    }
    return field.unescaped_key().get(key);
}

bool at_end(ondemand::document& doc)
{
    return doc.current_location().error() == simdjson::OUT_OF_BOUNDS;
}

simdjson::error_code validate(ondemand::value value, int depth)
{
    if (depth > kMaxDepth) {
        return simdjson::DEPTH_ERROR;
    }
    ondemand::json_type type{};
    if (const auto error = value.type().get(type)) {
        return error;
    }
    switch (type) {
    case ondemand::json_type::object: {
        ondemand::object object;
        if (const auto error = value.get_object().get(object)) {
            return error;
        }
        for (auto item : object) {
            ondemand::field field;
            std::string_view key;
            if (const auto error = read_field(item, field, key)) {
                return error;
            }
            if (const auto error = validate(field.value(), depth + 1)) {
                return error;
            }
        }
        return simdjson::SUCCESS;
    }
    case ondemand::json_type::array: {
        ondemand::array array;
        if (const auto error = value.get_array().get(array)) {
            return error;
        }
        for (auto item : array) {
            ondemand::value element;
            if (const auto error = std::move(item).get(element)) {
                return error;
            }
            if (const auto error = validate(element, depth + 1)) {
                return error;
            }
        }
        return simdjson::SUCCESS;
    }
    case ondemand::json_type::string:
        if (!has_valid_escapes(value.raw_json_token())) {
            return simdjson::STRING_ERROR;
        }
        return value.get_raw_json_string().error();
    case ondemand::json_type::number:
        return is_number(strip_end(value.raw_json_token())) ? simdjson::SUCCESS
                                                            : simdjson::NUMBER_ERROR;
    case ondemand::json_type::boolean: return value.get_bool().error();
    case ondemand::json_type::null:
        return strip_end(value.raw_json_token()) == "null" ? simdjson::SUCCESS
                                                           : simdjson::N_ATOM_ERROR;
    }
    return simdjson::TAPE_ERROR;
}

std::size_t find_member(std::string_view text, std::string_view key, std::size_t from) noexcept
{
    while (from < text.size()) {
        const void* const found =
            memmem(text.data() + from, text.size() - from, key.data(), key.size());
        if (found == nullptr) {
            break;
        }
        from = static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) + key.size();
        auto at = text.find_first_not_of(kWhite, from);
        if (at != std::string_view::npos && text[at] == ':') {
            at = text.find_first_not_of(kWhite, at + 1);
            return at;
        }
    }
    return std::string_view::npos;
}

std::string_view string_member(std::string_view text, std::string_view key) noexcept
{
    const auto at = find_member(text, key);
    if (at == std::string_view::npos || text[at] != '"') {
        return {};
    }
    const auto value = text.substr(at + 1, 257);
    const auto end = value.find_first_of("\"\\");
    return end == std::string_view::npos || value[end] == '\\' ? std::string_view()
                                                               : value.substr(0, end);
}

namespace {

/// Where `key`, which begins with a quote, occurs last.
std::size_t find_last(std::string_view text, std::string_view key) noexcept
{
    auto end = text.size();
    while (const void* found = ::memrchr(text.data(), key.front(), end)) {
        const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
        if (text.substr(at).starts_with(key)) {
            return at;
        }
        end = at;
    }
    return std::string_view::npos;
}

}  // namespace

std::string_view last_object(std::string_view text, std::string_view key, int levels) noexcept
{
    constexpr int kTries = 8;
    auto end = text.size();
    for (int i = 0; i < kTries; ++i) {
        const auto at = find_last(text.substr(0, end), key);
        if (at == std::string_view::npos) {
            return {};
        }
        const auto value = find_member(text.substr(at), key);
        if (value != std::string_view::npos && text[at + value] == '{') {
            std::size_t length = 0;
            const auto rest = text.substr(at + value);
            if (depth_change(rest, length) == -levels && length > 0) {
                return rest.substr(0, length);
            }
        }
        end = at;
    }
    return {};
}

}  // namespace llmproxy::openai::json
