#include "findings.hpp"

#include <algorithm>
#include <utility>

namespace llmproxy::config {

std::string indexed(std::string_view list, std::size_t index, std::string_view key)
{
    return std::string(list) + "[" + std::to_string(index) + "]." + std::string(key);
}

Problem Findings::at(const std::string& key, std::string expected) const
{
    for (auto around = key; !around.empty();) {
        if (const auto found = snapshot_.marks.find(around); found != snapshot_.marks.end()) {
            const auto& mark = found->second;
            const auto& file = mark.file.empty() ? snapshot_.file : mark.file;
            return {mark.line == 0 ? "environment" : file, mark.line, mark.column, key,
                    std::move(expected)};
        }
        const auto end = around.find_last_of(".[");
        around.resize(end == std::string::npos ? 0 : end);
    }
    return {snapshot_.file, 0, 0, key, std::move(expected)};
}

void Findings::refuse(const std::string& key, std::string expected)
{
    const bool known = std::any_of(problems_.begin(), problems_.end(), [&](const Problem& problem) {
        return problem.key == key || key.starts_with(problem.key + ".");
    });
    if (!known) {
        problems_.push_back(at(key, std::move(expected)));
    }
}

void Findings::warn(const std::string& key, std::string text)
{
    auto problem = at(key, {});
    problem.warning = true;
    snapshot_.warnings.push_back(problem.to_string() + std::move(text));
}

}  // namespace llmproxy::config
