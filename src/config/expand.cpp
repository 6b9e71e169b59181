#include "expand.hpp"

#include <algorithm>

namespace llmproxy::config {
namespace {

bool is_name(std::string_view text)
{
    const auto letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    const auto inner = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
    return !text.empty() && letter(text.front()) && std::all_of(text.begin(), text.end(), inner);
}

void substitute(Expanded& result, std::string_view reference, const Environment& environment)
{
    const auto separator = reference.find(":-");
    const auto name = std::string(reference.substr(0, separator));
    if (!is_name(name)) {
        result.malformed = true;
        return;
    }
    result.names.insert(name);
    const auto found = environment.find(name);
    if (separator != std::string_view::npos) {
        const bool usable = found != environment.end() && !found->second.empty();
        result.text += usable ? std::string_view(found->second) : reference.substr(separator + 2);
    } else if (found != environment.end()) {
        result.text += found->second;
    } else if (result.unset.empty()) {
        result.unset = name;
    }
}

}  // namespace

Expanded expand(std::string_view text, const Environment& environment)
{
    Expanded result;
    while (!text.empty()) {
        const auto start = text.find("${");
        if (start == std::string_view::npos) {
            break;
        }
        if (start > 0 && text[start - 1] == '$') {
            result.text += text.substr(0, start - 1);
            result.text += "${";
            text.remove_prefix(start + 2);
            continue;
        }
        result.text += text.substr(0, start);
        const auto end = text.find('}', start);
        if (end == std::string_view::npos) {
            result.malformed = true;
            return result;
        }
        substitute(result, text.substr(start + 2, end - start - 2), environment);
        text.remove_prefix(end + 1);
    }
    result.text += text;
    return result;
}

}  // namespace llmproxy::config
