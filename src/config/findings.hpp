#pragma once

#include "llmproxy/config/problem.hpp"
#include "llmproxy/config/snapshot.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::config {

/// `list[index].key`.
[[nodiscard]] std::string indexed(std::string_view list, std::size_t index, std::string_view key);

/// Collects what validation finds, each with its place.
/// Lifetime: refers to what it was given.
class Findings {
public:
    Findings(Snapshot& snapshot, std::vector<Problem>& problems)
        : snapshot_(snapshot), problems_(problems)
    {
    }

    [[nodiscard]] bool given(const std::string& key) const { return snapshot_.marks.contains(key); }
    /// The place of the key, or of the nearest thing around it that is in a file.
    [[nodiscard]] Problem at(const std::string& key, std::string expected) const;
    /// Adds a problem, unless the key has one already.
    void refuse(const std::string& key, std::string expected);
    void warn(const std::string& key, std::string text);

protected:
    Snapshot& snapshot_;
    std::vector<Problem>& problems_;
};

/// Checks `prices`: what entries refer to, that none is given twice, that tiers have a beginning.
void check_prices(Snapshot& snapshot, Findings& findings);

/// Checks `store`: the encryption key, and that nothing is set for a store that is not there.
void check_store(Snapshot& snapshot, Findings& findings);

/// Checks `management`: tokens, their names, and whether a listener serves the API.
void check_management(Snapshot& snapshot, Findings& findings);

}  // namespace llmproxy::config
