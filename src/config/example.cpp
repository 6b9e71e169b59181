#include "llmproxy/config/documents.hpp"

#include "field.hpp"
#include "scalar.hpp"

#include <algorithm>
#include <string_view>

namespace llmproxy::config {
namespace {

constexpr std::string_view kIntroduction =
    "# Made by `llm-proxy config example` from the field table; every key with its default or an\n"
    "# example. What is commented out is an alternative. Meaning and bounds of each key:\n"
    "# `llm-proxy config reference`.\n";

constexpr std::size_t kCommentColumn = 44;

/// Writes the field tree as commented YAML.
class Example {
public:
    std::string write()
    {
        text_ = kIntroduction;
        for (const auto& section : field_tree().children) {
            text_ += "\n";
            child(section, "", "", false);
        }
        return std::move(text_);
    }

private:
    /// `off` is what comments out the part around; `whole` if that is because of its keys.
    void child(const Spec& spec, const std::string& indent, std::string off, bool whole)
    {
        if (!whole && spec.field != nullptr && spec.field->example_commented) {
            off += "# ";
        }
        if (spec.children.empty()) {
            leaf(*spec.field, spec.name, indent, off);
            return;
        }
        const bool all = all_commented(spec);
        off += all && !whole ? "# " : "";
        whole = whole || all;
        line(indent, spec.name + ":", spec.field, off);
        const bool items = spec.field != nullptr && spec.field->type == Type::items;
        dash_ = items;
        for (const auto& below : spec.children) {
            child(below, indent + (items ? "    " : "  "), off, whole);
        }
        if (items) {
            more(spec.field->example_more, indent + "  ");
        }
    }

    /// A section whose keys are all commented out would be left without a value.
    static bool all_commented(const Spec& spec)
    {
        for (const auto& below : spec.children) {
            if (below.field == nullptr || !below.field->example_commented) {
                return false;
            }
        }
        return true;
    }

    void leaf(const Field& field, const std::string& name, const std::string& indent,
              const std::string& off)
    {
        if (!field.alias_of.empty()) {
            return;
        }
        const auto& value = field.example.empty() ? field.default_text : field.example;
        line(indent, name + ": " + (value.empty() ? "\"\"" : value), &field, off);
    }

    void line(const std::string& indent, const std::string& content, const Field* field,
              const std::string& off)
    {
        std::string start = dash_ ? indent.substr(2) + "- " : indent;
        dash_ = false;
        auto whole = off + start + content;
        if (field != nullptr && !field->description.empty()) {
            whole.resize(std::max(whole.size() + 1, kCommentColumn), ' ');
            whole += "# " + field->description;
        }
        text_ += whole + "\n";
    }

    void more(std::string_view lines, const std::string& indent)
    {
        while (!lines.empty()) {
            const auto end = lines.find('\n');
            text_ += indent + std::string(lines.substr(0, end)) + "\n";
            lines.remove_prefix(end + 1);
        }
    }

    std::string text_;
    bool dash_ = false;
};

}  // namespace

std::string example_yaml()
{
    return Example().write();
}

}  // namespace llmproxy::config
