#pragma once

#include "llmproxy/edge/server.hpp"
#include "llmproxy/net/cidr.hpp"

#include <atomic>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <openssl/ssl.h>
#include <vector>

namespace llmproxy::edge {

class Session;

/// What of the settings sessions use. Immutable; a connection takes the newest for each request.
struct Current {
    Settings settings;
    std::vector<net::Cidr> trusted;
    std::map<std::string, std::shared_ptr<SSL_CTX>, std::less<>> tls;  ///< by listener
};

/// All sessions, and which of them are between two requests and since when.
/// Thread safety: every member may be called concurrently; a place belongs to one session.
class Registry {
    struct Entry {
        std::weak_ptr<Session> session;
        std::atomic<core::SteadyTime::rep> idle_since;  // kBusy while a request is served
    };

public:
    /// A session's place; made by `add`, given back by `remove`.
    using Place = std::list<Entry>::iterator;

    [[nodiscard]] Place add();
    void name(Place place, std::weak_ptr<Session> session);
    void remove(Place place) noexcept;
    /// The session waits for a request: it may be closed to make room. Takes no lock: it happens twice a request.
    static void set_idle(Place place, bool idle) noexcept;

    /// Asks up to `count` sessions that have been idle for `time` to end, the longest idle first; how many were asked.
    /// Looks at every session: for when there is no room.
    std::size_t evict(std::size_t count, core::Duration time);
    /// Asks every session to end.
    void stop_all();
    [[nodiscard]] std::size_t size() const noexcept { return size_.load(); }

private:
    static constexpr auto kBusy = std::numeric_limits<core::SteadyTime::rep>::max();

    std::mutex mutex_;
    std::list<Entry> sessions_;
    std::atomic<std::size_t> size_{0};
};

/// Shared by the server, its listeners and its sessions.
struct Server::State {
    State(ServerParts the_parts) : parts(the_parts) {}

    [[nodiscard]] std::shared_ptr<const Current> current() const
    {
        const std::lock_guard lock(mutex);
        return now;
    }

    /// Makes `into` the newest if `seen` says that it is not; without a lock if it is.
    void refresh(std::shared_ptr<const Current>& into, std::uint64_t& seen) const
    {
        const auto newest = version.load(std::memory_order_acquire);
        if (!into || newest != seen) {
            into = current();
            seen = newest;
        }
    }

    void replace(std::shared_ptr<const Current> newer)
    {
        const std::lock_guard lock(mutex);
        now = std::move(newer);
        version.fetch_add(1, std::memory_order_release);
    }

    ServerParts parts;
    mutable std::mutex mutex;
    std::shared_ptr<const Current> now;
    std::atomic<std::uint64_t> version{0};
    std::vector<std::shared_ptr<Listener>> listeners;
    Registry registry;
    std::atomic<std::size_t> active{0};
    std::atomic<bool> draining{false};
};

}  // namespace llmproxy::edge
