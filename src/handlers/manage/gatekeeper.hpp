#pragma once

#include "call.hpp"

#include "llmproxy/policy/gcra.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace llmproxy::handlers::manage {

/// Slows down guessing: an address that showed wrong tokens is not listened to for a while.
///
/// Thread safety: every member may be called concurrently. Bounded: of very many addresses those
/// that come back to a clean record first are forgotten.
class FailureThrottle {
public:
    static constexpr std::uint64_t kPerMinute = 20;
    static constexpr std::size_t kMostAddresses = 4096;

    /// How long an address has to wait; zero: it may try.
    [[nodiscard]] core::Duration wait(const std::string& address, core::SteadyTime now);
    void failed(const std::string& address, core::SteadyTime now);
    [[nodiscard]] std::size_t size() const;

private:
    void make_room(core::SteadyTime now);

    mutable std::mutex mutex_;
    std::map<std::string, policy::Gcra> addresses_;
};

/// What counts as one address: an IPv6 one stands for its /64.
[[nodiscard]] std::string throttled_address(const std::string& address);

/// Tells who calls by the bearer token.
/// Thread safety: every member may be called concurrently.
class Gatekeeper {
public:
    explicit Gatekeeper(const ManagementSettings& settings);

    void replace(const ManagementSettings& settings);

    /// \param authorizations  how many Authorization fields there are; several are refused.
    /// Fails with Errc::invalid_api_key, or Errc::rate_limit_exceeded after too many failures; how
    /// long to wait is then in `wait`. The role of the actor is that of the token.
    [[nodiscard]] core::Result<Actor> admit(std::string_view authorization,
                                            std::size_t authorizations, const std::string& address,
                                            core::SteadyTime now, core::Duration& wait);

private:
    using Tokens = std::vector<ManagementToken>;
    [[nodiscard]] std::shared_ptr<const Tokens> tokens() const;

    mutable std::mutex mutex_;
    std::shared_ptr<const Tokens> tokens_;
    FailureThrottle throttle_;
};

}  // namespace llmproxy::handlers::manage
