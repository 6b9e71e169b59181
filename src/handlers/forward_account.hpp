#pragma once

#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/http/exchange.hpp"
#include "llmproxy/http/tunnel.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace llmproxy::handlers {

/// What a tunnel or forwarded request of an account takes up, and what it has used when it is over.
/// Thread safety: none; lives on the session's strand and ends before the session.
class ForwardAccount {
public:
    /// Takes a place under the account's limits. With `accounts` null nothing is counted.
    /// Fails like Accounts::admit. \param fields  gets the lines of a refusal.
    static core::Result<std::unique_ptr<ForwardAccount>> admit(accounts::Accounts* accounts,
                                                               accounts::AccountPtr account,
                                                               http::Exchange& exchange,
                                                               bool tunnel, std::string& fields);

    [[nodiscard]] const accounts::Account& account() const noexcept { return *account_; }
    /// Whether the token was revoked meanwhile; then everything that the session waits for has ended.
    [[nodiscard]] bool revoked() const noexcept { return revoked_; }

    /// What follows will be accounted for: before anything is passed on. Fails like Accounts::note.
    core::Task<core::Result<void>> begin(std::string host);
    /// Takes `begin` back: nothing was passed on.
    void abandon() noexcept { grant_.cancel(); }
    /// `settle` for the end of a tunnel to `host`; `revoked` if that is why.
    core::Task<std::string_view> settle_tunnel(std::string host, std::string request_id,
                                               http::TunnelTraffic traffic,
                                               core::Duration duration);
    /// What passed goes into the store. \param host  with the port.
    core::Task<void> settle(std::string host, std::string_view outcome, unsigned status,
                            std::uint64_t from_client, std::uint64_t to_client,
                            core::Duration duration, std::string request_id);

private:
    ForwardAccount(accounts::Accounts* accounts, accounts::AccountPtr account)
        : accounts_(accounts), account_(std::move(account))
    {
    }

    accounts::Accounts* accounts_;
    accounts::AccountPtr account_;
    accounts::Grant grant_;
    bool revoked_ = false;
};

}  // namespace llmproxy::handlers
