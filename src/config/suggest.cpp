#include "suggest.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace llmproxy::config {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b)
{
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const auto substituted = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
        }
    }
    return row.back();
}

}  // namespace

std::string nearest(std::string_view given, const std::vector<std::string>& known)
{
    constexpr std::size_t kLongestKey = 64;
    std::string best;
    if (given.size() > kLongestKey) {
        return best;
    }
    auto best_distance = std::max<std::size_t>(2, given.size() / 3) + 1;
    for (const auto& candidate : known) {
        const auto distance = edit_distance(given, candidate);
        if (distance < best_distance && distance < candidate.size()) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

}  // namespace llmproxy::config
