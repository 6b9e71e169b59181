#include "llmproxy/net/resolver.hpp"

#include "llmproxy/core/text.hpp"
#include "wakeup.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <netdb.h>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::Failure;
using core::Origin;
using ResultPtr = std::shared_ptr<const LookupResult>;

constexpr std::size_t kMaxNameLength = 253;  // RFC 1035, section 2.3.4, without the trailing dot

struct Waiter {
    explicit Waiter(asio::any_io_executor strand) : wakeup(std::make_shared<Wakeup>(strand)) {}
    std::shared_ptr<Wakeup> wakeup;
    ResultPtr result;  // written and read on the strand only
};

struct Entry {
    ResultPtr result;  // null while the look-up is queued or under way
    core::SteadyTime expires;
    std::vector<std::shared_ptr<Waiter>> waiters;
    std::list<std::string>::iterator age;  // valid when `result` is set
};

std::string normalized(std::string host)
{
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    std::transform(host.begin(), host.end(), host.begin(), core::lower);
    return host;
}

boost::system::error_code lookup_error(int code)
{
    switch (code) {
    case EAI_AGAIN: return asio::error::host_not_found_try_again;
    case EAI_MEMORY: return asio::error::no_memory;
    case EAI_SYSTEM: return {errno, boost::system::system_category()};
    default: return asio::error::host_not_found;
    }
}

Resolver::Endpoints endpoints_of(const LookupResult& found, std::uint16_t port)
{
    Resolver::Endpoints endpoints;
    endpoints.reserve(found.addresses.size());
    for (const auto& address : found.addresses) {
        endpoints.emplace_back(address, port);
    }
    return endpoints;
}

core::Result<Resolver::Endpoints> answer(const LookupResult& found, const std::string& host,
                                         std::uint16_t port)
{
    if (found.error || found.addresses.empty()) {
        return Failure(Errc::upstream_connect_failed, Origin::upstream,
                       "cannot resolve '" + host +
                           "': " + (found.reason.empty() ? "no address" : found.reason),
                       found.error ? found.error : asio::error::host_not_found);
    }
    return endpoints_of(found, port);
}

/// Address literals, and what cannot be a name.
std::optional<core::Result<Resolver::Endpoints>> answer_without_look_up(const std::string& name,
                                                                        std::uint16_t port)
{
    boost::system::error_code not_literal;
    const auto literal = asio::ip::make_address(name, not_literal);
    if (!not_literal) {
        return Resolver::Endpoints(1, asio::ip::tcp::endpoint(literal, port));
    }
    if (name.empty() || name.size() > kMaxNameLength + 1 || name.find('\0') != std::string::npos) {
        return Failure(Errc::upstream_connect_failed, Origin::upstream, "not a host name");
    }
    return std::nullopt;
}

}  // namespace

LookupResult system_lookup(const std::string& name)
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    LookupResult result;
    const int code = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
    if (code != 0) {
        result.error = lookup_error(code);
        result.reason = code == EAI_SYSTEM ? result.error.message() : ::gai_strerror(code);
        return result;
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
    for (const addrinfo* item = list; item != nullptr; item = item->ai_next) {
        asio::ip::tcp::endpoint endpoint;
        if (item->ai_addrlen > endpoint.capacity()) {
            continue;
        }
        std::memcpy(endpoint.data(), item->ai_addr, item->ai_addrlen);
        endpoint.resize(item->ai_addrlen);
        const auto address = endpoint.address();
        auto& known = result.addresses;
        if (std::find(known.begin(), known.end(), address) == known.end()) {
            known.push_back(address);
        }
    }
    return result;
}

class Resolver::State : public std::enable_shared_from_this<State> {
public:
    enum class Asked : std::uint8_t { known, waiting, full, closed };

    State(ResolverOptions options, Lookup lookup, std::shared_ptr<const core::Clock> clock)
        : options_(std::move(options)), lookup_(std::move(lookup)), clock_(std::move(clock))
    {
        options_.threads = std::max<std::size_t>(options_.threads, 1);
        options_.max_names = std::max<std::size_t>(options_.max_names, 1);
        if (!clock_) {
            clock_ = std::make_shared<core::RealClock>();
        }
    }

    /// The result of an earlier look-up, as long as it is fresh.
    ResultPtr remembered(const std::string& name)
    {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(name);
        const bool fresh = found != entries_.end() && found->second.result &&
                           clock_->now() < found->second.expires;
        return fresh ? found->second.result : nullptr;
    }

    /// Sets `known`, or registers a new `waiter` that wakes on `strand`.
    Asked ask(const std::string& name, const asio::any_io_executor& strand, ResultPtr& known,
              std::shared_ptr<Waiter>& waiter)
    {
        const std::lock_guard lock(mutex_);
        if (closed_) {
            return Asked::closed;
        }
        auto found = entries_.find(name);
        if (found != entries_.end() && found->second.result) {
            if (clock_->now() < found->second.expires) {
                known = found->second.result;
                return Asked::known;
            }
            forget(found);
            found = entries_.end();
        }
        if (found == entries_.end()) {
            if (entries_.size() >= options_.max_names) {
                if (ages_.empty()) {
                    return Asked::full;
                }
                forget(entries_.find(ages_.front()));
            }
            found = entries_.try_emplace(name).first;
            queue_.push_back(name);
            start_thread();
            work_.notify_one();
        }
        waiter = std::make_shared<Waiter>(strand);
        found->second.waiters.push_back(waiter);
        return Asked::waiting;
    }

    void abandon(const std::string& name, const std::shared_ptr<Waiter>& waiter) noexcept
    {
        const std::lock_guard lock(mutex_);
        if (auto found = entries_.find(name); found != entries_.end()) {
            std::erase(found->second.waiters, waiter);
        }
    }

    void close()
    {
        std::vector<std::thread> threads;
        {
            std::unique_lock lock(mutex_);
            closed_ = true;
            queue_.clear();
            ages_.clear();
            for (auto& [name, entry] : entries_) {
                for (const auto& waiter : entry.waiters) {
                    waiter->wakeup->wake();
                }
            }
            entries_.clear();
            work_.notify_all();
            stopped_.wait_for(lock, options_.shutdown_grace, [this] { return running_ == 0; });
            if (running_ == 0) {
                threads.swap(threads_);
            }
            for (auto& thread : threads_) {
                thread.detach();
            }
            threads_.clear();
        }
        for (auto& thread : threads) {
            thread.join();
        }
    }

private:
    using Entries = std::unordered_map<std::string, Entry>;

    void forget(Entries::iterator entry)
    {
        ages_.erase(entry->second.age);
        entries_.erase(entry);
    }

    // Threads are started as they are needed: most configurations name few hosts.
    void start_thread()
    {
        if (idle_ < queue_.size() && threads_.size() < options_.threads) {
            threads_.emplace_back([self = shared_from_this()] { self->work(); });
            ++running_;
            ++idle_;
        }
    }

    void work()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            work_.wait(lock, [this] { return closed_ || !queue_.empty(); });
            if (closed_) {
                break;
            }
            const auto name = std::move(queue_.front());
            queue_.pop_front();
            if (const auto entry = entries_.find(name); entry->second.waiters.empty()) {
                entries_.erase(entry);
                continue;
            }
            --idle_;
            lock.unlock();
            auto result = look_up(name);
            lock.lock();
            ++idle_;
            if (closed_) {
                break;
            }
            deliver(name, std::move(result));
        }
        --running_;
        stopped_.notify_all();
    }

    ResultPtr look_up(const std::string& name) const
    {
        try {
            const auto began = std::chrono::steady_clock::now();
            auto result = std::make_shared<const LookupResult>(lookup_(name));
            if (options_.observer) {
                options_.observer(std::chrono::steady_clock::now() - began);
            }
            return result;
        } catch (const std::exception& error) {
            LookupResult failed;
            failed.error = asio::error::no_recovery;
            failed.reason = error.what();
            return std::make_shared<const LookupResult>(std::move(failed));
        }
    }

    // Wakes while locked: a waiter still registered belongs to a live coroutine, hence to a live
    // context.
    void deliver(const std::string& name, ResultPtr result)
    {
        auto& entry = entries_.find(name)->second;
        const bool failed = result->error || result->addresses.empty();
        entry.expires = clock_->now() + (failed ? options_.negative_ttl : options_.positive_ttl);
        entry.result = result;
        entry.age = ages_.insert(ages_.end(), name);
        for (const auto& waiter : entry.waiters) {
            waiter->wakeup->wake_with([waiter, result] { waiter->result = result; });
        }
        entry.waiters.clear();
    }

    ResolverOptions options_;
    const Lookup lookup_;
    std::shared_ptr<const core::Clock> clock_;

    std::mutex mutex_;  // guards everything below
    std::condition_variable work_;
    std::condition_variable stopped_;
    Entries entries_;
    std::deque<std::string> queue_;
    std::list<std::string> ages_;  // names with a result, oldest first
    std::vector<std::thread> threads_;
    std::size_t running_ = 0;
    std::size_t idle_ = 0;
    bool closed_ = false;
};

namespace {

// Takes the waiter back however the wait ends, also when the coroutine is destroyed in it.
template <typename State>
class Registration {
public:
    Registration(std::shared_ptr<State> state, const std::string& name, std::shared_ptr<Waiter> w)
        : state_(std::move(state)), name_(name), waiter_(std::move(w))
    {
    }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    ~Registration() { state_->abandon(name_, waiter_); }

private:
    std::shared_ptr<State> state_;
    const std::string& name_;
    std::shared_ptr<Waiter> waiter_;
};

}  // namespace

Resolver::Resolver(ResolverOptions options, Lookup lookup, std::shared_ptr<const core::Clock> clock)
    : state_(std::make_shared<State>(std::move(options), std::move(lookup), std::move(clock)))
{
}

Resolver::~Resolver()
{
    state_->close();
}

std::optional<core::Result<Resolver::Endpoints>> Resolver::known(const std::string& host,
                                                                 std::uint16_t port) const
{
    const auto name = normalized(host);
    if (auto answered = answer_without_look_up(name, port)) {
        return answered;
    }
    if (const auto found = state_->remembered(name)) {
        return answer(*found, name, port);
    }
    return std::nullopt;
}

core::Task<core::Result<Resolver::Endpoints>>
Resolver::resolve(std::string host, std::uint16_t port, core::Deadline deadline)
{
    const auto state = state_;
    const auto name = normalized(std::move(host));
    if (auto answered = answer_without_look_up(name, port)) {
        co_return std::move(*answered);
    }
    const auto strand = co_await asio::this_coro::executor;
    std::shared_ptr<Waiter> waiter;
    ResultPtr found;
    switch (state->ask(name, strand, found, waiter)) {
    case State::Asked::known: co_return answer(*found, name, port);
    case State::Asked::full:
        co_return Failure(Errc::upstream_connect_failed, Origin::self,
                          "cannot resolve '" + name + "': too many names are being looked up");
    case State::Asked::closed:
        co_return Failure(Errc::cancelled, Origin::self, "the resolver is closed");
    case State::Asked::waiting: break;
    }
    const Registration<State> registration(state, name, waiter);
    const bool woken = co_await waiter->wakeup->wait(deadline);
    if (woken && waiter->result) {
        co_return answer(*waiter->result, name, port);
    }
    const auto cancelled = (co_await asio::this_coro::cancellation_state).cancelled();
    if (woken || cancelled != asio::cancellation_type::none) {
        co_return Failure(Errc::cancelled, Origin::self, "stopped resolving '" + name + "'");
    }
    co_return Failure(Errc::upstream_timeout, Origin::upstream,
                      "resolving '" + name + "' took too long", asio::error::timed_out);
}

}  // namespace llmproxy::net
