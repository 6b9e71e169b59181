#include "llmproxy/pipeline/resources.hpp"

#include <utility>

namespace llmproxy::pipeline {

core::Task<std::optional<ResourceHome>> RecentResources::find(std::string id)
{
    co_return look_up(id);
}

std::optional<ResourceHome> RecentResources::look_up(std::string_view id)
{
    const std::lock_guard lock(mutex_);
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) {
        return std::nullopt;
    }
    known_.splice(known_.begin(), known_, found->second);
    return found->second->home;
}

void RecentResources::learn(std::string id, ResourceHome home)
{
    const std::lock_guard lock(mutex_);
    if (const auto found = by_id_.find(id); found != by_id_.end()) {
        found->second->home = std::move(home);
        known_.splice(known_.begin(), known_, found->second);
        return;
    }
    known_.push_front({std::move(id), std::move(home)});
    by_id_.emplace(known_.front().id, known_.begin());
    shrink();
}

void RecentResources::forget(std::string_view id)
{
    const std::lock_guard lock(mutex_);
    if (const auto found = by_id_.find(id); found != by_id_.end()) {
        const auto place = found->second;
        by_id_.erase(found);
        known_.erase(place);
    }
}

bool RecentResources::empty() const noexcept
{
    return size() == 0;
}

void RecentResources::set_limit(std::size_t limit)
{
    const std::lock_guard lock(mutex_);
    limit_ = limit;
    shrink();
}

std::size_t RecentResources::size() const
{
    const std::lock_guard lock(mutex_);
    return known_.size();
}

void RecentResources::shrink()
{
    while (known_.size() > limit_) {
        by_id_.erase(known_.back().id);
        known_.pop_back();
    }
}

}  // namespace llmproxy::pipeline
