#include "standings.hpp"

#include <utility>

namespace llmproxy::accounts {

Standings::Found Standings::find(storage::Subject subject)
{
    auto& part = part_of(subject);
    const std::lock_guard lock(part.mutex);
    const auto found = part.entries.find(subject);
    if (found == part.entries.end()) {
        return {nullptr, part.let_go};
    }
    found->second.used = true;
    return {found->second.standing, part.let_go};
}

std::shared_ptr<Standing> Standings::adopt(std::shared_ptr<Standing> standing, Mark seen)
{
    auto& part = part_of(standing->subject());
    const std::lock_guard lock(part.mutex);
    if (const auto found = part.entries.find(standing->subject()); found != part.entries.end()) {
        return found->second.standing;
    }
    if (part.let_go != seen) {
        return nullptr;
    }
    if (part.entries.size() >= capacity_of_part_) {
        make_room(part);
    }
    part.entries.emplace(standing->subject(), Entry{standing, true});
    return standing;
}

/// Nobody can come by a reference meanwhile: who has none gets it under the part's lock.
void Standings::make_room(Part& part)
{
    for (auto entry = part.entries.begin(); entry != part.entries.end();) {
        const bool needed =
            entry->second.standing.use_count() > 1 || entry->second.standing->ahead_of_store();
        if (needed || std::exchange(entry->second.used, false)) {
            ++entry;
        } else {
            entry = part.entries.erase(entry);
            ++part.let_go;
        }
    }
}

std::size_t Standings::size() const
{
    std::size_t sum = 0;
    for (const auto& part : parts_) {
        const std::lock_guard lock(part.mutex);
        sum += part.entries.size();
    }
    return sum;
}

}  // namespace llmproxy::accounts
