#include "forward_account.hpp"

#include "llmproxy/telemetry/log.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace llmproxy::handlers {
namespace {

constexpr std::string_view kRevoked = "revoked";

std::int64_t signed_of(std::uint64_t count) noexcept
{
    return static_cast<std::int64_t>(
        std::min<std::uint64_t>(count, std::numeric_limits<std::int64_t>::max()));
}

}  // namespace

core::Result<std::unique_ptr<ForwardAccount>>
ForwardAccount::admit(accounts::Accounts* accounts, accounts::AccountPtr account,
                      http::Exchange& exchange, bool tunnel, std::string& fields)
{
    std::unique_ptr<ForwardAccount> made(new ForwardAccount(accounts, std::move(account)));
    auto& record = exchange.record;
    record.token = made->account_->name();
    record.project = made->account_->stored() ? made->account_->project_name() : std::string();
    if (auto granted = made->account_->check_route(record.route); !granted) {
        return granted.error();
    }
    if (accounts == nullptr) {
        return made;
    }
    accounts::Admission wanted;
    wanted.route = record.route;
    wanted.tunnel = tunnel;
    wanted.request_id = record.request_id;
    auto grant = accounts->admit(made->account_, wanted, fields);
    if (!grant) {
        return grant.error();
    }
    made->grant_ = std::move(*grant);
    auto& watchdog = exchange.watchdog();
    accounts->watch(made->grant_, watchdog.executor(), [self = made.get(), &watchdog] {
        self->revoked_ = true;
        watchdog.stop();
    });
    return made;
}

core::Task<core::Result<void>> ForwardAccount::begin(std::string host)
{
    if (!grant_) {
        co_return core::Result<void>();
    }
    co_return co_await accounts_->note(grant_, std::move(host));
}

core::Task<std::string_view> ForwardAccount::settle_tunnel(std::string host, std::string request_id,
                                                           http::TunnelTraffic traffic,
                                                           core::Duration duration)
{
    co_await settle(std::move(host), http::to_string(traffic.end), 200, traffic.from_client,
                    traffic.from_upstream, duration, std::move(request_id));
    co_return revoked_ ? kRevoked : std::string_view();
}

core::Task<void> ForwardAccount::settle(std::string host, std::string_view outcome, unsigned status,
                                        std::uint64_t from_client, std::uint64_t to_client,
                                        core::Duration duration, std::string request_id)
{
    if (!grant_) {
        co_return;
    }
    std::vector<accounts::Attempt> attempts(1);
    auto& row = attempts.front().row;
    row.host = std::move(host);
    row.outcome = revoked_ ? kRevoked : outcome;
    row.status = static_cast<std::uint16_t>(status);
    row.duration = duration;
    row.bytes_in = signed_of(from_client);
    row.bytes_out = signed_of(to_client);
    auto settled = co_await accounts_->settle(grant_, std::move(attempts));
    if (!settled) {
        telemetry::log("forward").warn(request_id, "usage is not in the store yet",
                                       {{"error", settled.error().describe()}});
    }
}

}  // namespace llmproxy::handlers
