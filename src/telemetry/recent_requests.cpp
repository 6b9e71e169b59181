#include "llmproxy/telemetry/recent_requests.hpp"

#include "access_fields.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace llmproxy::telemetry {
namespace {

/// Gives back what a line would not show of a text, with the room that it takes.
void cut(std::string& text, std::size_t most)
{
    if (text.capacity() > most) {
        text = text.substr(0, std::min(text.size(), most));
    }
}

void cut(AccessRecord& record)
{
    for (auto* const text :
         {&record.request_id, &record.client, &record.forwarded_for, &record.authority,
          &record.user_agent, &record.method, &record.listener, &record.model, &record.served_model,
          &record.finish_reason, &record.project, &record.token, &record.backend, &record.upstream,
          &record.error}) {
        cut(*text, kMostLoggedText);
    }
    cut(record.path, kMostLoggedPath);
    if (record.trace && (record.trace->sampled || !record.trace->state.empty())) {
        auto bare = std::make_shared<Trace>();  // who exports it still reads the other
        bare->id = record.trace->id;
        record.trace = std::move(bare);
    }
}

}  // namespace

RecentRequests::RecentRequests(std::size_t capacity) : capacity_(capacity), places_(capacity) {}

void RecentRequests::keep(AccessRecord&& record)
{
    if (capacity_ == 0) {
        return;
    }
    cut(record);
    const auto number = next_.fetch_add(1, std::memory_order_acq_rel);
    auto& place = places_[number % capacity_];
    const std::lock_guard lock(place.mutex);
    // A thread that was held up here for a whole round must not bring back what is older.
    if (number > place.entry.number) {
        place.entry.number = number;
        place.entry.record = std::move(record);
    }
}

std::vector<RecentRequests::Entry> RecentRequests::newest(std::uint64_t before, std::size_t most,
                                                          const Wanted& wanted) const
{
    std::vector<Entry> found;
    if (capacity_ == 0) {
        return found;
    }
    const auto next = this->next();
    const auto last = oldest(next);
    for (auto number = std::min(before, next); number-- > last && found.size() < most;) {
        const auto& place = place_of(number);
        const std::lock_guard lock(place.mutex);
        if (place.entry.number == number && wanted(place.entry.record)) {
            found.push_back(place.entry);
        }
    }
    return found;
}

std::optional<RecentRequests::Entry> RecentRequests::find(std::string_view request_id) const
{
    auto found = newest(next(), 1, [request_id](const AccessRecord& record) {
        return record.request_id == request_id;
    });
    return found.empty() ? std::nullopt : std::optional<Entry>(std::move(found.front()));
}

RecentRequests::Batch RecentRequests::since(std::uint64_t number, std::size_t most,
                                            const Wanted& wanted) const
{
    Batch batch;
    batch.next = number;
    if (capacity_ == 0) {
        return batch;
    }
    if (const auto first = oldest(next()); first > number) {
        batch.missed = first - number;
        batch.next = first;
    }
    while (batch.next < next() && batch.entries.size() < most) {
        const auto& place = place_of(batch.next);
        const std::lock_guard lock(place.mutex);
        if (place.entry.number < batch.next) {
            break;  // its thread has taken the number but not yet the place
        }
        if (place.entry.number > batch.next) {
            ++batch.missed;
        } else if (wanted(place.entry.record)) {
            batch.entries.push_back(place.entry);
        }
        ++batch.next;
    }
    return batch;
}

}  // namespace llmproxy::telemetry
