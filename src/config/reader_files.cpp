#include "reader.hpp"

#include "scalar.hpp"

#include <algorithm>
#include <fstream>

namespace llmproxy::config {
namespace {

/// All of a file; none if it cannot be read or is larger.
std::optional<std::string> read_whole(const std::string& name, std::size_t largest)
{
    std::ifstream stream(name, std::ios::binary);
    std::string content(largest + 1, '\0');
    stream.read(content.data(), static_cast<std::streamsize>(content.size()));
    content.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
    if (stream.bad() || (!stream.eof() && content.size() <= largest) || content.size() > largest) {
        return std::nullopt;
    }
    return content;
}

}  // namespace

Value Reader::read_secret_file(const Field& field, const Tree& tree, const std::string& path,
                               const std::string& name)
{
    constexpr std::size_t kLargest = std::size_t{64} * 1024;
    auto content = read_whole(name, kLargest);
    if (!content) {
        problem(tree.mark, path, expectation(field) + " of at most 64KiB" + got(field, tree));
        return {};
    }
    while (content->ends_with('\n') || content->ends_with('\r')) {
        content->pop_back();
    }
    return std::move(*content);
}

void Reader::read_items_file(const Field& field, const std::string& name, const Mark& mark)
{
    constexpr std::size_t kLargest = std::size_t{4} * 1024 * 1024;
    const auto content = read_whole(name, kLargest);
    if (!content) {
        problem(mark, field.path, expectation(field) + " of at most 4MiB; got " + yaml_text(name));
        return;
    }
    const auto problems_before = problems_.size();
    const auto document = parse_yaml(*content, name, problems_);
    if (problems_.size() != problems_before) {
        return;
    }
    const auto& lists = field_tree().children;
    const auto list = std::find_if(lists.begin(), lists.end(),
                                   [&](const Spec& spec) { return spec.name == field.items_path; });
    Spec only;
    only.children.push_back(*list);
    const auto around = file_;
    file_ = name;
    if (document.kind == Tree::Kind::null) {
        problem(document.mark, {}, "a mapping with the key " + field.items_path + "; got nothing");
    } else {
        read_section(only, &document, "", document.mark);
    }
    file_ = around;
}

}  // namespace llmproxy::config
