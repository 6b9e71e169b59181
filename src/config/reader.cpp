#include "reader.hpp"

#include "expand.hpp"
#include "scalar.hpp"
#include "suggest.hpp"

#include <algorithm>
#include <map>

namespace llmproxy::config {
namespace {

constexpr std::string_view kVariablePrefix = "LLM_PROXY_";

std::string join(const std::string& path, const std::string& name)
{
    return path.empty() ? name : path + "." + name;
}

bool is_secret(const Field& field)
{
    return field.masked || field.type == Type::secret || field.type == Type::secret_list;
}

}  // namespace

std::string got(const Field& field, const Tree& tree)
{
    constexpr std::size_t kShown = 80;
    if (tree.kind != Tree::Kind::scalar) {
        return "; got " + std::string(describe(tree.kind));
    }
    if (is_secret(field)) {
        return {};
    }
    const bool cut = tree.text.size() > kShown;
    return "; got " + yaml_text(tree.text.substr(0, kShown)) + (cut ? "..." : "");
}

namespace {

const Tree* find(const Tree* map, const std::string& key)
{
    if (map == nullptr || map->kind != Tree::Kind::map) {
        return nullptr;
    }
    const auto found = std::find_if(map->entries.begin(), map->entries.end(),
                                    [&](const auto& e) { return e.key == key; });
    return found == map->entries.end() ? nullptr : &found->value;
}

/// Where a key of the same name stands elsewhere in the table.
std::string elsewhere(const std::string& key)
{
    for (const auto& field : field_table()) {
        if (field.path.ends_with("." + key)) {
            return field.path;
        }
    }
    return {};
}

std::string unknown_key_text(const Spec& spec, const std::string& key)
{
    std::vector<std::string> known;
    known.reserve(spec.children.size());
    for (const auto& child : spec.children) {
        known.push_back(child.name);
    }
    auto hint = nearest(key, known);
    if (hint.empty()) {
        hint = elsewhere(key);
    }
    if (!hint.empty()) {
        return "a known key; did you mean '" + hint + "'?";
    }
    std::string list;
    for (const auto& name : known) {
        list += (list.empty() ? "" : ", ") + name;
    }
    return "one of the keys " + list;
}

}  // namespace

Reader::Reader(Snapshot& snapshot, const Environment& environment, std::vector<Problem>& problems)
    : snapshot_(snapshot), environment_(environment), problems_(problems), file_(snapshot.file)
{
    cursor_.root = &snapshot_;
}

void Reader::read(const Tree& document)
{
    apply_defaults(field_tree());
    read_section(field_tree(), &document, "", document.mark);
    warn_of_unknown_variables();
}

Mark Reader::placed(Mark mark) const
{
    mark.file = file_ == snapshot_.file ? std::string() : file_;
    return mark;
}

void Reader::problem(Mark mark, const std::string& key, std::string expected)
{
    problems_.push_back({file_, mark.line, mark.column, key, std::move(expected)});
}

void Reader::apply_defaults(const Spec& spec)
{
    for (const auto& child : spec.children) {
        if (child.field == nullptr) {
            apply_defaults(child);
        } else if (child.children.empty() && !child.field->default_text.empty()) {
            std::vector<Problem> defects;
            const auto tree = parse_yaml(child.field->default_text, "default", defects);
            if (auto value = read_value(*child.field, tree, child.field->path);
                !std::holds_alternative<std::monostate>(value)) {
                child.field->set(cursor_, value);
            }
        }
    }
}

void Reader::check_keys(const Spec& spec, const Tree& map, const std::string& path)
{
    std::map<std::string, int> seen;
    for (const auto& entry : map.entries) {
        const auto key = join(path, entry.key);
        const auto [first, fresh] = seen.emplace(entry.key, entry.mark.line);
        if (!fresh) {
            problem(entry.mark, key,
                    "a key once; it is given on line " + std::to_string(first->second) +
                        " already");
            continue;
        }
        const auto known = std::any_of(spec.children.begin(), spec.children.end(),
                                       [&](const Spec& child) { return child.name == entry.key; });
        if (!known) {
            problem(entry.mark, key, unknown_key_text(spec, entry.key));
        }
        snapshot_.marks.emplace(key, placed(entry.mark));
    }
}

void Reader::read_section(const Spec& spec, const Tree* tree, const std::string& path, Mark place)
{
    if (tree != nullptr && tree->kind == Tree::Kind::map) {
        check_keys(spec, *tree, path);
    } else if (tree != nullptr && tree->kind != Tree::Kind::null) {
        problem(tree->mark, path, "a mapping; got " + std::string(describe(tree->kind)));
        tree = nullptr;
    }
    for (const auto& child : spec.children) {
        read_child(child, find(tree, child.name), join(path, child.name), place);
    }
}

void Reader::read_child(const Spec& spec, const Tree* tree, const std::string& path, Mark place)
{
    if (spec.children.empty()) {
        read_leaf(spec, tree, path, place);
    } else if (spec.field == nullptr) {
        read_section(spec, tree, path, tree != nullptr ? snapshot_.marks[path] : place);
    } else if (spec.field->type == Type::items) {
        read_items(spec, tree, path);
    } else if (tree != nullptr && tree->kind != Tree::Kind::map) {
        problem(tree->mark, path, "a mapping; got " + std::string(describe(tree->kind)));
    } else if (tree != nullptr) {
        spec.field->open(cursor_);
        apply_defaults(spec);
        read_section(spec, tree, path, snapshot_.marks[path]);
    }
}

void Reader::read_items(const Spec& spec, const Tree* tree, const std::string& path)
{
    Tree fallback;
    if (tree == nullptr) {
        fallback = parse_yaml(spec.field->default_text, file_, problems_);
        tree = &fallback;
    }
    if (tree->kind != Tree::Kind::list && tree->kind != Tree::Kind::null) {
        problem(tree->mark, path, expectation(*spec.field) + got(*spec.field, *tree));
        return;
    }
    auto index = spec.field->count(cursor_);
    for (const auto& item : tree->items) {
        const auto item_path = path + "[" + std::to_string(index++) + "]";
        if (item.kind != Tree::Kind::map) {
            problem(item.mark, item_path, "a mapping; got " + std::string(describe(item.kind)));
        }
        spec.field->open(cursor_);
        apply_defaults(spec);
        if (item.kind != Tree::Kind::map) {
            continue;
        }
        if (tree != &fallback) {
            snapshot_.marks.emplace(item_path, placed(item.mark));
        }
        read_section(spec, &item, item_path, item.mark);
    }
}

void Reader::read_leaf(const Spec& spec, const Tree* tree, const std::string& path, Mark place)
{
    const auto& field = *spec.field;
    Tree from_environment;
    const auto variable = environment_.find(environment_name(field));
    if (variable != environment_.end()) {
        from_environment.kind = Tree::Kind::scalar;
        from_environment.text = variable->second;
        tree = &from_environment;
    }
    if (tree == nullptr) {
        if (field.required) {
            problem(place, path, "a value, " + expectation(field) + "; got nothing");
        }
        return;
    }
    const auto around = file_;
    overriding_ = tree == &from_environment;
    if (overriding_) {
        file_ = "environment";
        snapshot_.marks[path] = Mark{};
    }
    if (!field.alias_of.empty()) {
        const Problem note{file_,
                           tree->mark.line,
                           tree->mark.column,
                           path,
                           "the new name " + field.alias_of + "; the old one still works",
                           true};
        snapshot_.warnings.push_back(note.to_string());
    }
    const auto value = read_value(field, *tree, path);
    if (!std::holds_alternative<std::monostate>(value)) {
        field.set(cursor_, value);
    }
    file_ = around;
    overriding_ = false;
    if (const auto* name = std::get_if<std::string>(&value);
        field.type == Type::items_file && name != nullptr && !name->empty()) {
        read_items_file(field, *name, tree->mark);
    }
}

Value Reader::read_value(const Field& field, const Tree& tree, const std::string& path)
{
    switch (field.type) {
    case Type::string_list:
    case Type::port_list:
    case Type::secret_list:
    case Type::enumeration_list: return read_list(field, tree, path);
    case Type::string_map: return read_map(field, tree, path);
    default: return read_text(field, tree, path);
    }
}

Value Reader::read_list(const Field& field, const Tree& tree, const std::string& path)
{
    if (tree.kind != Tree::Kind::list && tree.kind != Tree::Kind::null) {
        problem(tree.mark, path, expectation(field) + got(field, tree));
        return {};
    }
    std::vector<std::string> texts;
    for (const auto& item : tree.items) {
        const auto item_path = path + "[" + std::to_string(texts.size()) + "]";
        snapshot_.marks[item_path] = placed(item.mark);
        const auto text = expand_text(field, item, item_path);
        if (text && std::holds_alternative<std::monostate>(parse_scalar(field, *text))) {
            problem(item.mark, item_path, expectation(field) + got(field, item));
        }
        texts.push_back(text.value_or(""));
    }
    if (field.required && texts.empty()) {
        problem(tree.mark, path, expectation(field) + "; got an empty one");
    }
    return texts;
}

Value Reader::read_map(const Field& field, const Tree& tree, const std::string& path)
{
    if (tree.kind != Tree::Kind::map && tree.kind != Tree::Kind::null) {
        problem(tree.mark, path, expectation(field) + got(field, tree));
        return {};
    }
    std::map<std::string, std::string> texts;
    for (const auto& entry : tree.entries) {
        const auto key = join(path, entry.key);
        snapshot_.marks[key] = placed(entry.mark);
        const auto text = expand_text(field, entry.value, key);
        if (!texts.emplace(entry.key, text.value_or("")).second) {
            problem(entry.mark, key, "a key once");
        }
    }
    return texts;
}

Value Reader::read_text(const Field& field, const Tree& tree, const std::string& path)
{
    const auto text = expand_text(field, tree, path);
    if (!text) {
        return {};
    }
    if (field.required && text->empty()) {
        problem(tree.mark, path, expectation(field) + "; got an empty text");
        return {};
    }
    if (field.type == Type::secret_file) {
        return read_secret_file(field, tree, path, *text);
    }
    if (field.type == Type::path && text->find("-----BEGIN") != std::string::npos) {
        problem(tree.mark, path, "the path of a file, not what is in it");
        return {};
    }
    auto value = parse_scalar(field, *text);
    if (std::holds_alternative<std::monostate>(value)) {
        problem(tree.mark, path, expectation(field) + got(field, tree));
    }
    return value;
}

std::optional<std::string> Reader::expand_text(const Field& field, const Tree& tree,
                                               const std::string& path)
{
    if (tree.kind != Tree::Kind::scalar) {
        problem(tree.mark, path, expectation(field) + got(field, tree));
        return std::nullopt;
    }
    if (overriding_) {
        return tree.text;
    }
    auto expanded = expand(tree.text, environment_);
    variables_used_.merge(expanded.names);
    if (expanded.malformed) {
        problem(tree.mark, path, "${NAME} or ${NAME:-default} after a $");
        return std::nullopt;
    }
    if (!expanded.unset.empty() && !field.unset_is_nothing) {
        problem(tree.mark, path,
                "the environment variable " + expanded.unset + " to be set, or a default as in ${" +
                    expanded.unset + ":-default}");
        return std::nullopt;
    }
    if (!expanded.unset.empty()) {
        expanded.text.clear();
    }
    return std::move(expanded.text);
}

void Reader::warn_of_unknown_variables()
{
    std::set<std::string> known;
    std::vector<std::string> names;
    for (const auto& field : field_table()) {
        if (auto name = environment_name(field); !name.empty()) {
            names.push_back(name);
            known.insert(std::move(name));
        }
    }
    for (const auto& [name, text] : environment_) {
        if (name.starts_with(kVariablePrefix) && !known.contains(name) &&
            !variables_used_.contains(name)) {
            const auto hint = nearest(name, names);
            snapshot_.warnings.push_back("environment: warning: " + name + " overrides no setting" +
                                         (hint.empty() ? "" : "; did you mean " + hint + "?"));
        }
    }
}

}  // namespace llmproxy::config
