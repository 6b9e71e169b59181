#include "field.hpp"

#include <algorithm>

namespace llmproxy::config {

Field field(std::string path, Type type, std::string default_text, std::string description)
{
    Field result;
    result.path = std::move(path);
    result.type = type;
    result.default_text = std::move(default_text);
    result.description = std::move(description);
    return result;
}

Field one_of(std::string path, std::vector<std::string> choices, std::string default_text,
             std::string description)
{
    auto result =
        field(std::move(path), Type::enumeration, std::move(default_text), std::move(description));
    result.choices = std::move(choices);
    return result;
}

const std::vector<Field>& field_table()
{
    static const auto table = [] {
        std::vector<Field> rows;
        add_server_fields(rows);
        add_limit_fields(rows);
        add_backend_fields(rows);
        add_model_fields(rows);
        add_resilience_fields(rows);
        add_forward_fields(rows);
        add_auth_fields(rows);
        add_account_fields(rows);
        add_store_fields(rows);
        add_management_fields(rows);
        add_tracing_fields(rows);
        return rows;
    }();
    return table;
}

namespace {

Spec& child_named(Spec& parent, const std::string& name)
{
    const auto found = std::find_if(parent.children.begin(), parent.children.end(),
                                    [&](const Spec& s) { return s.name == name; });
    if (found != parent.children.end()) {
        return *found;
    }
    parent.children.push_back(Spec{name, nullptr, {}});
    return parent.children.back();
}

void insert(Spec& root, const Field& row)
{
    auto* at = &root;
    std::string_view rest = row.path;
    while (!rest.empty()) {
        const auto dot = rest.find('.');
        auto segment = std::string(rest.substr(0, dot));
        if (segment.ends_with("[]")) {
            segment.resize(segment.size() - 2);
        }
        at = &child_named(*at, segment);
        rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(dot + 1);
    }
    at->field = &row;
}

}  // namespace

const Spec& field_tree()
{
    static const auto tree = [] {
        Spec root;
        for (const auto& row : field_table()) {
            insert(root, row);
        }
        return root;
    }();
    return tree;
}

std::string environment_name(const Field& field)
{
    switch (field.type) {
    case Type::items:
    case Type::section:
    case Type::string_list:
    case Type::port_list:
    case Type::string_map:
    case Type::secret_list:
    case Type::enumeration_list: return {};
    default: break;
    }
    if (field.path.find('[') != std::string::npos) {
        return {};
    }
    std::string name = "LLM_PROXY_";
    for (const char c : field.path) {
        name += c == '.' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    }
    return name;
}

}  // namespace llmproxy::config
