#include "llmproxy/upstream/origin_pool.hpp"

#include <algorithm>
#include <cstring>
#include <sys/socket.h>

namespace llmproxy::upstream {

OriginPool::Endpoint remote_endpoint(net::Stream& stream) noexcept
{
    OriginPool::Endpoint endpoint;
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int fd = stream.socket().native_handle();
    const bool is_ip = ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
                       (address.ss_family == AF_INET || address.ss_family == AF_INET6) &&
                       length <= endpoint.capacity();
    if (is_ip) {
        std::memcpy(endpoint.data(), &address, length);
    }
    return endpoint;
}

std::string to_text(const OriginPool::Endpoint& endpoint)
{
    const auto address = endpoint.address().to_string();
    const auto port = std::to_string(endpoint.port());
    return endpoint.address().is_v6() ? "[" + address + "]:" + port : address + ":" + port;
}

std::unique_ptr<Connection> OriginPool::remove(List::iterator at)
{
    auto connection = std::move(*at);
    idle_.erase(at);
    const auto count = per_origin_.find(connection->origin);
    if (--count->second == 0) {
        per_origin_.erase(count);
    }
    return connection;
}

std::unique_ptr<Connection> OriginPool::take(std::string_view origin,
                                             std::span<const Endpoint> vetted)
{
    for (;;) {
        std::unique_ptr<Connection> candidate;
        {
            const std::lock_guard lock(mutex_);
            if (!per_origin_.contains(origin)) {
                return nullptr;
            }
            const auto at = std::find_if(idle_.begin(), idle_.end(), [&](const auto& connection) {
                return connection->origin == origin;
            });
            candidate = remove(at);
        }
        const auto remote = remote_endpoint(candidate->stream);
        const bool still_vetted = std::find(vetted.begin(), vetted.end(), remote) != vetted.end();
        if (still_vetted && candidate->stream.idle_and_alive()) {
            return candidate;
        }
    }
}

Lease OriginPool::lease(std::unique_ptr<Connection> connection, bool reused)
{
    return {shared_from_this(), std::move(connection), policy::AdmissionGate::Permit(), reused};
}

void OriginPool::give_back(std::unique_ptr<Connection> connection) noexcept
{
    connection->buffer.release();
    connection->idle_since = std::chrono::steady_clock::now();
    std::unique_ptr<Connection> surplus;
    const std::lock_guard lock(mutex_);
    auto& count = per_origin_[connection->origin];
    if (count >= kMostIdlePerOrigin) {
        surplus = std::move(connection);
        return;
    }
    ++count;
    idle_.push_front(std::move(connection));
    if (idle_.size() > kMostIdle) {
        surplus = remove(std::prev(idle_.end()));
    }
}

void OriginPool::sweep(core::SteadyTime now)
{
    List dead;
    const std::lock_guard lock(mutex_);
    for (auto at = idle_.begin(); at != idle_.end();) {
        const auto here = at++;
        auto& connection = **here;
        if (now - connection.idle_since >= idle_timeout_ || connection.stream.peer_closed()) {
            dead.push_back(remove(here));
        }
    }
}

void OriginPool::close_idle() noexcept
{
    List all;
    const std::lock_guard lock(mutex_);
    all.swap(idle_);
    per_origin_.clear();
}

void OriginPool::set_idle_timeout(core::Duration idle_timeout)
{
    const std::lock_guard lock(mutex_);
    idle_timeout_ = idle_timeout;
}

std::size_t OriginPool::idle() const
{
    const std::lock_guard lock(mutex_);
    return idle_.size();
}

}  // namespace llmproxy::upstream
