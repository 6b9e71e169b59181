#pragma once

#include "llmproxy/accounts/standing.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace llmproxy::accounts {

/// The standings of all subjects that accounts were loaded of lately.
///
/// A standing that anybody uses, or that knows more than the store, is never let go of; others are, past `capacity`,
/// those first that were not asked for in a while. A new one is made of what the store says, so it is only taken in if
/// none was let go of since before the store was asked.
/// Thread safety: every member may be called concurrently; the table is divided, each part has a short lock.
class Standings {
public:
    explicit Standings(std::size_t capacity) noexcept : capacity_of_part_(capacity / kParts + 1) {}

    /// What was let go of so far, in the part of a subject.
    using Mark = std::uint64_t;
    struct Found {
        std::shared_ptr<Standing> standing;  ///< null: there is none; ask the store, then `adopt`
        Mark mark = 0;
    };
    [[nodiscard]] Found find(storage::Subject subject);

    /// Takes a new one in, unless another came meanwhile: gives whichever counts. Null: ask the store again.
    [[nodiscard]] std::shared_ptr<Standing> adopt(std::shared_ptr<Standing> standing, Mark seen);

    [[nodiscard]] std::size_t size() const;

    /// Calls `visit(Standing&)` for each, with no lock held.
    template <typename Visit>
    void for_each(const Visit& visit) const
    {
        std::vector<std::shared_ptr<Standing>> some;
        for (const auto& part : parts_) {
            {
                const std::lock_guard lock(part.mutex);
                for (const auto& [subject, entry] : part.entries) {
                    some.push_back(entry.standing);
                }
            }
            for (const auto& standing : some) {
                visit(*standing);
            }
            some.clear();
        }
    }

private:
    static constexpr std::size_t kParts = 32;
    struct Hash {
        std::size_t operator()(storage::Subject subject) const noexcept
        {
            return std::hash<std::int64_t>()(subject.id * 2 +
                                             static_cast<std::int64_t>(subject.kind));
        }
    };
    struct Entry {
        std::shared_ptr<Standing> standing;
        bool used = true;
    };
    struct Part {
        mutable std::mutex mutex;
        std::unordered_map<storage::Subject, Entry, Hash> entries;
        Mark let_go = 0;
    };
    Part& part_of(storage::Subject subject) noexcept { return parts_[Hash()(subject) % kParts]; }
    void make_room(Part& part);

    const std::size_t capacity_of_part_;
    std::array<Part, kParts> parts_;
};

}  // namespace llmproxy::accounts
