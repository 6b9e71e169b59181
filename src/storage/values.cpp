#include "values.hpp"

#include <nlohmann/json.hpp>

namespace llmproxy::storage {

std::optional<std::string> encode_list(const std::vector<std::string>& list)
{
    if (list.empty()) {
        return "[]";
    }
    try {
        return nlohmann::json(list).dump();
    } catch (const nlohmann::json::type_error&) {
        return std::nullopt;
    }
}

std::optional<std::vector<std::string>> decode_list(std::string_view json)
{
    std::vector<std::string> list;
    if (json == "[]") {
        return list;
    }
    const auto parsed = nlohmann::json::parse(json, nullptr, false);
    if (!parsed.is_array()) {
        return std::nullopt;
    }
    for (const auto& item : parsed) {
        if (!item.is_string()) {
            return std::nullopt;
        }
        list.push_back(item.get<std::string>());
    }
    return list;
}

}  // namespace llmproxy::storage
