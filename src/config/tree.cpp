#include "tree.hpp"

#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <exception>
#include <utility>

namespace llmproxy::config {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxNodes = 100'000;

Mark mark_of(const YAML::Mark& mark)
{
    return mark.is_null() ? Mark{} : Mark{mark.line + 1, mark.column + 1};
}

/// Copies yaml-cpp's graph, in which aliases may be shared or even contain themselves.
class Copier {
public:
    Copier(const std::string& file, std::vector<Problem>& problems)
        : file_(file), problems_(problems)
    {
    }

    Tree copy(const YAML::Node& node, int depth)
    {
        Tree tree;
        tree.mark = mark_of(node.Mark());
        if (depth > kMaxDepth || ++nodes_ > kMaxNodes) {
            refuse(tree.mark, "a document at most 32 levels deep with at most 100000 parts");
            return tree;
        }
        if (node.IsScalar()) {
            tree.kind = Tree::Kind::scalar;
            tree.text = node.Scalar();
        } else if (node.IsSequence()) {
            tree.kind = Tree::Kind::list;
            for (const auto& item : node) {
                tree.items.push_back(copy(item, depth + 1));
            }
        } else if (node.IsMap()) {
            tree.kind = Tree::Kind::map;
            for (const auto& pair : node) {
                copy_entry(tree, pair.first, pair.second, depth);
            }
        }
        return tree;
    }

private:
    void copy_entry(Tree& tree, const YAML::Node& key, const YAML::Node& value, int depth)
    {
        const auto mark = mark_of(key.Mark());
        if (!key.IsScalar()) {
            refuse(mark, "a key that is plain text");
            return;
        }
        auto part = copy(value, depth + 1);
        if (part.kind == Tree::Kind::null) {
            part.mark = mark;  // nothing is nowhere: yaml-cpp tells the place of what follows
        }
        tree.entries.push_back({key.Scalar(), mark, std::move(part)});
    }

    void refuse(Mark mark, std::string expected)
    {
        if (!refused_) {
            problems_.push_back({file_, mark.line, mark.column, {}, std::move(expected)});
        }
        refused_ = true;
    }

    const std::string& file_;
    std::vector<Problem>& problems_;
    std::size_t nodes_ = 0;
    bool refused_ = false;
};

}  // namespace

Tree parse_yaml(std::string_view text, const std::string& file, std::vector<Problem>& problems)
{
    try {
        const auto documents = YAML::LoadAll(std::string(text));
        if (documents.empty()) {
            return {};
        }
        if (documents.size() > 1) {
            const auto mark = mark_of(documents[1].Mark());
            problems.push_back({file, mark.line, mark.column, {}, "a single YAML document"});
        }
        return Copier(file, problems).copy(documents.front(), 0);
    } catch (const YAML::Exception& error) {
        const auto mark = mark_of(error.mark);
        problems.push_back({file, mark.line, mark.column, {}, "valid YAML; got: " + error.msg});
    } catch (const std::exception& error) {
        problems.push_back({file, 0, 0, {}, std::string("valid YAML; got: ") + error.what()});
    }
    return {};
}

std::string_view describe(Tree::Kind kind) noexcept
{
    switch (kind) {
    case Tree::Kind::null: return "nothing";
    case Tree::Kind::scalar: return "a single value";
    case Tree::Kind::list: return "a list";
    case Tree::Kind::map: return "a mapping";
    }
    return "nothing";
}

}  // namespace llmproxy::config
