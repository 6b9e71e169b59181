#pragma once

#include "field.hpp"
#include "tree.hpp"

#include "llmproxy/config/load.hpp"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::config {

/// `; got ...` with the text as the file has it, so that nothing from a variable is shown.
[[nodiscard]] std::string got(const Field& field, const Tree& tree);

/// Walks a document along the field tree and fills a snapshot: defaults, then the file, then the
/// environment. Collects every problem; what a field cannot take leaves its default.
/// Lifetime: used once, on the stack; refers to what it was given.
class Reader {
public:
    Reader(Snapshot& snapshot, const Environment& environment, std::vector<Problem>& problems);

    void read(const Tree& document);

private:
    void read_section(const Spec& spec, const Tree* tree, const std::string& path, Mark place);
    void read_child(const Spec& spec, const Tree* tree, const std::string& path, Mark place);
    void read_items(const Spec& spec, const Tree* tree, const std::string& path);
    void read_leaf(const Spec& spec, const Tree* tree, const std::string& path, Mark place);
    void apply_defaults(const Spec& spec);
    void check_keys(const Spec& spec, const Tree& map, const std::string& path);

    [[nodiscard]] Value read_value(const Field& field, const Tree& tree, const std::string& path);
    [[nodiscard]] Value read_list(const Field& field, const Tree& tree, const std::string& path);
    [[nodiscard]] Value read_map(const Field& field, const Tree& tree, const std::string& path);
    [[nodiscard]] Value read_text(const Field& field, const Tree& tree, const std::string& path);
    [[nodiscard]] Value read_secret_file(const Field& field, const Tree& tree,
                                         const std::string& path, const std::string& name);
    void read_items_file(const Field& field, const std::string& name, const Mark& mark);
    [[nodiscard]] std::optional<std::string> expand_text(const Field& field, const Tree& tree,
                                                         const std::string& path);

    [[nodiscard]] Mark placed(Mark mark) const;
    void problem(Mark mark, const std::string& key, std::string expected);
    void warn_of_unknown_variables();

    Snapshot& snapshot_;
    const Environment& environment_;
    std::vector<Problem>& problems_;
    std::string
        file_;  // whose text is being read: the document's, the environment's, or a file's that it names
    bool overriding_ = false;  // the text comes from the environment
    Cursor cursor_;
    std::set<std::string> variables_used_;
};

}  // namespace llmproxy::config
