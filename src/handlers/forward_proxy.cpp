#include "llmproxy/handlers/forward.hpp"

#include "forward_account.hpp"
#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/telemetry/log.hpp"

namespace llmproxy::handlers {

using core::Errc;
using core::Failure;
using core::Origin;

ForwardProxy::ForwardProxy(upstream::Destinations& destinations, telemetry::Metrics& metrics,
                           std::string_view instance,
                           std::shared_ptr<const ForwardPolicies> policies)
    : destinations_(destinations), metrics_(metrics), via_name_(http::via_pseudonym(instance)),
      pool_(std::make_shared<upstream::OriginPool>(policies->settings.idle_timeout)),
      policies_(std::move(policies))
{
}

void ForwardProxy::replace(std::shared_ptr<const ForwardPolicies> policies)
{
    const std::lock_guard lock(mutex_);
    policies_ = std::move(policies);
    pool_->set_idle_timeout(policies_->settings.idle_timeout);
}

std::shared_ptr<const ForwardPolicies> ForwardProxy::policies() const
{
    const std::lock_guard lock(mutex_);
    return policies_;
}

core::Task<core::Result<std::shared_ptr<ForwardAccount>>>
ForwardProxy::admit(http::Exchange& exchange, const ForwardPolicies& policies, bool tunnel,
                    std::string& fields) const
{
    const auto& head = exchange.head().fields;
    if (http::came_through(head, via_name_)) {
        co_return Failure(Errc::loop_detected, Origin::client, "own name in Via");
    }
    const auto& authenticator = *policies.pipeline->authenticator;
    const auto credential = head.get(http::FieldName::proxy_authorization);
    auto account = authenticator.recall_proxy(credential);
    if (!account) {
        const auto deadline =
            core::Deadline::after(exchange.started, policies.pipeline->settings.total_timeout);
        account = co_await authenticator.look_up_proxy(credential, deadline);
    }
    if (!*account) {
        co_return account->error();
    }
    auto admitted = ForwardAccount::admit(policies.pipeline->accounts, std::move(**account),
                                          exchange, tunnel, fields);
    if (!admitted) {
        co_return admitted.error();
    }
    co_return std::shared_ptr<ForwardAccount>(std::move(*admitted));
}

Failure ForwardProxy::explain(const http::Exchange& exchange, Failure failure,
                              const upstream::Vetted& vetted)
{
    if (failure.errc() == Errc::destination_not_allowed) {
        const auto rule = policy::to_text(vetted.rule);
        metrics_.destination_refused(rule);
        telemetry::log("forward").warn_about(exchange.record, "destination refused",
                                             {{"rule", rule},
                                              {"destination", exchange.record.authority},
                                              {"client", exchange.record.client},
                                              {"token", exchange.record.token},
                                              {"detail", failure.detail()}});
    }
    const bool late = failure.errc() == Errc::upstream_connect_failed &&
                      failure.cause() == boost::system::errc::timed_out;
    return late ? Failure(Errc::upstream_timeout, Origin::upstream, failure.detail(),
                          failure.cause())
                : failure;
}

core::Task<void> ForwardProxy::refuse(http::Exchange& exchange, Failure failure,
                                      std::string_view fields)
{
    exchange.watchdog().watch_client(false);
    exchange.watchdog().guard_upstream(nullptr);
    const bool challenged = failure.errc() == Errc::proxy_auth_required;
    co_await exchange.reply_error(failure, challenged ? auth::kProxyChallenge : fields);
}

core::Task<void> Stray::handle(http::Exchange& exchange)
{
    const bool ours = http::came_through(exchange.head().fields, proxy_.via_name());
    Failure failure(ours ? Errc::loop_detected : Errc::not_found, Origin::client);
    co_await proxy_.refuse(exchange, std::move(failure));
}

}  // namespace llmproxy::handlers
