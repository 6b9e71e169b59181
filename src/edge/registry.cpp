#include "session.hpp"

namespace llmproxy::edge {

Registry::Place Registry::add()
{
    Place place;
    const std::lock_guard lock(mutex_);
    place.at = idle_.insert(idle_.end(), Entry{{}, std::chrono::steady_clock::now()});
    ++size_;
    return place;
}

void Registry::name(Place& place, std::weak_ptr<Session> session)
{
    const std::lock_guard lock(mutex_);
    place.at->session = std::move(session);
}

void Registry::remove(Place& place) noexcept
{
    const std::lock_guard lock(mutex_);
    (place.idle ? idle_ : busy_).erase(place.at);
    --size_;
}

void Registry::set_idle(Place& place, bool idle) noexcept
{
    const std::lock_guard lock(mutex_);
    auto& to = idle ? idle_ : busy_;
    place.at->since = std::chrono::steady_clock::now();
    to.splice(to.end(), place.idle ? idle_ : busy_, place.at);
    place.idle = idle;
}

std::size_t Registry::evict(std::size_t count, core::Duration time)
{
    const auto latest = std::chrono::steady_clock::now() - time;
    std::vector<std::shared_ptr<Session>> chosen;
    {
        const std::lock_guard lock(mutex_);
        for (auto& one : idle_) {
            if (chosen.size() == count || one.since > latest) {
                break;
            }
            if (auto session = one.session.lock()) {
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
        for (const auto* list : {&idle_, &busy_}) {
            for (const auto& one : *list) {
                if (auto session = one.session.lock()) {
                    chosen.push_back(std::move(session));
                }
            }
        }
    }
    for (const auto& session : chosen) {
        session->stop();
    }
}

}  // namespace llmproxy::edge
