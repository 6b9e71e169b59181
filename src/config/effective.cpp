#include "llmproxy/config/documents.hpp"
#include "llmproxy/config/load.hpp"

#include "field.hpp"
#include "scalar.hpp"

#include <map>
#include <set>

namespace llmproxy::config {
namespace {

/// Writes the settings along the field tree as block YAML.
class Writer {
public:
    explicit Writer(Cursor& cursor) : cursor_(cursor) {}

    void write(const Spec& section, const std::string& indent)
    {
        for (const auto& child : section.children) {
            write_child(child, indent);
        }
    }

    std::string take() { return std::move(text_); }

private:
    void write_child(const Spec& spec, const std::string& indent)
    {
        if (spec.children.empty()) {
            write_leaf(spec, indent);
        } else if (spec.field != nullptr && spec.field->type == Type::items) {
            write_items(spec, indent);
        } else if (spec.field == nullptr || spec.field->count(cursor_) > 0) {
            start(indent) += spec.name + ":\n";
            write(spec, indent + "  ");
        }
    }

    void write_leaf(const Spec& spec, const std::string& indent)
    {
        if (!spec.field->get) {
            return;
        }
        const auto value = spec.field->get(cursor_);
        if (!std::holds_alternative<std::monostate>(value)) {
            start(indent) += spec.name + ": " + format_value(*spec.field, value) + "\n";
        }
    }

    void write_items(const Spec& spec, const std::string& indent)
    {
        const auto count = spec.field->count(cursor_);
        start(indent) += spec.name + (count == 0 ? ": []\n" : ":\n");
        for (std::size_t i = 0; i < count; ++i) {
            spec.field->select(cursor_, i);
            first_of_item_ = true;
            write(spec, indent + "    ");
        }
    }

    /// The line's beginning; the first line of an item carries the dash.
    std::string& start(const std::string& indent)
    {
        text_ += first_of_item_ ? indent.substr(2) + "- " : indent;
        first_of_item_ = false;
        return text_;
    }

    Cursor& cursor_;
    std::string text_;
    bool first_of_item_ = false;
};

using Shown = std::map<std::string, std::string>;

void collect(const Spec& section, const std::string& path, Cursor& cursor, Shown& shown);

void collect_counted(const Spec& spec, const std::string& path, Cursor& cursor, Shown& shown)
{
    const bool items = spec.field->type == Type::items;
    const auto count = spec.field->count(cursor);
    for (std::size_t i = 0; i < count; ++i) {
        spec.field->select(cursor, i);
        if (!spec.field->reloadable) {
            shown[path] = "given";
        }
        collect(spec, items ? path + "[" + std::to_string(i) + "]" : path, cursor, shown);
    }
}

void collect(const Spec& section, const std::string& path, Cursor& cursor, Shown& shown)
{
    for (const auto& child : section.children) {
        const auto below = path.empty() ? child.name : path + "." + child.name;
        if (child.children.empty()) {
            if (!child.field->reloadable && child.field->get) {
                shown[below] = format_value(*child.field, child.field->get(cursor));
            }
        } else if (child.field == nullptr) {
            collect(child, below, cursor, shown);
        } else {
            collect_counted(child, below, cursor, shown);
        }
    }
}

Shown fixed_settings(Snapshot snapshot)
{
    Cursor cursor;
    cursor.root = &snapshot;
    Shown shown;
    collect(field_tree(), "", cursor, shown);
    return shown;
}

}  // namespace

std::string effective_yaml(const Snapshot& snapshot)
{
    auto copy = snapshot;
    Cursor cursor;
    cursor.root = &copy;
    Writer writer(cursor);
    writer.write(field_tree(), "");
    return writer.take();
}

std::vector<std::string> needs_restart(const Snapshot& running, const Snapshot& next)
{
    const auto before = fixed_settings(running);
    const auto after = fixed_settings(next);
    std::set<std::string> keys;
    const auto compare = [&keys](const Shown& one, const Shown& other) {
        for (const auto& [key, value] : one) {
            const auto found = other.find(key);
            if (found == other.end() || found->second != value) {
                keys.insert(key);
            }
        }
    };
    compare(before, after);
    compare(after, before);
    return {keys.begin(), keys.end()};
}

}  // namespace llmproxy::config
