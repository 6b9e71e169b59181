#pragma once

#include "llmproxy/accounts/account.hpp"
#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/sha256.hpp"
#include "llmproxy/core/task.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace llmproxy::accounts {

/// Lets one of those that look for the same token ask the store, while the others wait for what it finds.
///
/// Thread safety: every member may be called concurrently. Lifetime: must outlive its leads.
class Flights {
    struct Waiter;

public:
    using Value = core::Result<AccountPtr>;

    /// The duty to find it. Destroyed without `land`, it lets those that wait begin again. Move-only.
    class Lead {
    public:
        Lead(Flights& flights, const core::Sha256& hash) noexcept : flights_(&flights), hash_(hash)
        {
        }
        Lead(Lead&& other) noexcept
            : flights_(std::exchange(other.flights_, nullptr)), hash_(other.hash_)
        {
        }
        Lead& operator=(Lead&&) = delete;
        ~Lead() { land(std::nullopt); }

        /// Gives everybody who waits what was found.
        void land(const std::optional<Value>& value);

    private:
        Flights* flights_;
        core::Sha256 hash_;
    };

    /// Either the lead, or a place among those that wait.
    class Seat {
    public:
        explicit Seat(Lead duty) noexcept : lead(std::move(duty)) {}
        explicit Seat(std::shared_ptr<Waiter> waiter) noexcept : waiter_(std::move(waiter)) {}

        std::optional<Lead> lead;

        /// Waits for what the leader finds; none if it gave up or the deadline has passed.
        /// Runs on the executor that the seat was taken for, which has to be a strand.
        core::Task<std::optional<Value>> arrival(core::Deadline deadline);

    private:
        std::shared_ptr<Waiter> waiter_;
    };

    [[nodiscard]] Seat join(const core::Sha256& hash, const boost::asio::any_io_executor& strand);

    /// How many wait at the moment.
    [[nodiscard]] std::size_t waiting() const;

private:
    mutable std::mutex mutex_;
    std::map<core::Sha256, std::vector<std::shared_ptr<Waiter>>> flights_;
};

}  // namespace llmproxy::accounts
