#include "session.hpp"

#include <algorithm>
#include <utility>

namespace llmproxy::edge {
namespace {

core::SteadyTime::rep now() noexcept
{
    return std::chrono::steady_clock::now().time_since_epoch().count();
}

}  // namespace

Registry::Place Registry::add()
{
    const std::lock_guard lock(mutex_);
    auto& entry = sessions_.emplace_back();
    entry.idle_since.store(now(), std::memory_order_relaxed);
    ++size_;
    return std::prev(sessions_.end());
}

void Registry::name(Place place, std::weak_ptr<Session> session)
{
    const std::lock_guard lock(mutex_);
    place->session = std::move(session);
}

void Registry::remove(Place place) noexcept
{
    const std::lock_guard lock(mutex_);
    sessions_.erase(place);
    --size_;
}

void Registry::set_idle(Place place, bool idle) noexcept
{
    place->idle_since.store(idle ? now() : kBusy, std::memory_order_relaxed);
}

std::size_t Registry::evict(std::size_t count, core::Duration time)
{
    const auto latest = (std::chrono::steady_clock::now() - time).time_since_epoch().count();
    std::vector<std::shared_ptr<Session>> chosen;
    {
        using Candidate = std::pair<core::SteadyTime::rep, const Entry*>;
        std::vector<Candidate> idle;
        const std::lock_guard lock(mutex_);
        for (const auto& one : sessions_) {
            const auto since = one.idle_since.load(std::memory_order_relaxed);
            if (since <= latest) {
                idle.emplace_back(since, &one);
            }
        }
        const auto wanted = static_cast<std::ptrdiff_t>(std::min(count, idle.size()));
        const auto end = idle.begin() + wanted;
        std::partial_sort(idle.begin(), end, idle.end());
        for (auto one = idle.begin(); one != end; ++one) {
            if (auto session = one->second->session.lock()) {
                chosen.push_back(std::move(session));
            }
        }
    }
    for (const auto& session : chosen) {
        session->evict();
    }
    return chosen.size();
}

void Registry::stop_all()
{
    std::vector<std::shared_ptr<Session>> chosen;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& one : sessions_) {
            if (auto session = one.session.lock()) {
                chosen.push_back(std::move(session));
            }
        }
    }
    for (const auto& session : chosen) {
        session->stop();
    }
}

}  // namespace llmproxy::edge
