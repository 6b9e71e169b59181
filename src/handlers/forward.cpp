#include "llmproxy/handlers/forward.hpp"
#include "forward_account.hpp"

#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/http/target.hpp"
#include "llmproxy/net/connector.hpp"
#include "llmproxy/pipeline/forwarding.hpp"

#include <algorithm>

namespace llmproxy::handlers {
namespace {

using core::Failure;

/// Connections for one request, to addresses vetted for it.
class VettedConnections final : public pipeline::OriginConnections {
public:
    VettedConnections(ForwardProxy& proxy, http::Exchange& exchange,
                      std::shared_ptr<const ForwardPolicies> policies,
                      std::shared_ptr<ForwardAccount> account, const http::Authority& authority)
        : proxy_(proxy), exchange_(exchange), policies_(std::move(policies)),
          account_(std::move(account)), authority_(authority), origin_(authority.to_string())
    {
    }

    core::Task<core::Result<upstream::Lease>> lease(bool fresh) override
    {
        const auto deadline =
            core::Deadline::after(std::chrono::steady_clock::now(), policies_->connect_timeout);
        upstream::Destination destination(authority_.host, authority_.port,
                                          policy::DestinationUse::http);
        auto& watchdog = exchange_.watchdog();
        watchdog.watch_client(true);
        const auto asked = std::chrono::steady_clock::now();
        const auto vetted =
            co_await proxy_.destinations().vet(policies_->destinations, std::move(destination),
                                               account_->account().hosts(), deadline, watchdog);
        watchdog.watch_client(false);
        auto* const trace = telemetry::sampled(exchange_.record.trace);
        if (trace != nullptr && vetted.resolved >= core::Duration::zero()) {
            trace->attempts.back().note("dns", asked);
        }
        if (!vetted.ok()) {
            co_return proxy_.explain(exchange_, vetted.failure, vetted);
        }
        if (!fresh) {
            if (auto connection = proxy_.pool().take(origin_, vetted.endpoints)) {
                co_return take(std::move(connection), true);
            }
        }
        watchdog.watch_client(true);
        const auto began = std::chrono::steady_clock::now();
        auto stream = co_await net::connect_tcp(vetted.endpoints, deadline, watchdog);
        watchdog.watch_client(false);
        if (trace != nullptr) {
            trace->attempts.back().note("connect", began);
        }
        if (!stream) {
            co_return proxy_.explain(exchange_, stream.error(), vetted);
        }
        auto connection = std::make_unique<upstream::Connection>(std::move(*stream));
        connection->origin = origin_;
        co_return take(std::move(connection), false);
    }

private:
    upstream::Lease take(std::unique_ptr<upstream::Connection> connection, bool reused)
    {
        exchange_.record.upstream =
            upstream::to_text(upstream::remote_endpoint(connection->stream));
        return proxy_.pool().lease(std::move(connection), reused);
    }

    ForwardProxy& proxy_;
    http::Exchange& exchange_;
    std::shared_ptr<const ForwardPolicies> policies_;
    std::shared_ptr<ForwardAccount> account_;
    const http::Authority& authority_;
    std::string origin_;
};

/// Whether a field may tell a secret.
bool is_sensitive(const http::Field& field)
{
    const auto same = [&](std::string_view name) { return core::iequals(name, field.name); };
    return field.id == http::FieldName::authorization || field.id == http::FieldName::cookie ||
           http::is_hop_by_hop(field) ||
           std::any_of(auth::kCredentialHeaders.begin(), auth::kCredentialHeaders.end(), same);
}

/// The request as it came, but for what may be secret (RFC 9110, section 9.3.8).
std::string echo(const http::RequestHead& head)
{
    std::string out;
    core::append_all(out, head.method, " ", head.target, " HTTP/1.", head.version == 10 ? "0" : "1",
                     "\r\n");
    for (const auto& field : head.fields) {
        if (!is_sensitive(field)) {
            http::append_field(out, field.name, field.value);
        }
    }
    out += "\r\n";
    return out;
}

/// Answers a TRACE or OPTIONS that may go no further, as its final recipient.
core::Task<core::Result<void>> answer_here(http::Exchange& exchange)
{
    const bool trace = exchange.head().verb == http::Verb::trace;
    const std::string fields =
        trace ? "Content-Type: message/http\r\n"
              : "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, CONNECT, OPTIONS, TRACE\r\n";
    const auto body = trace ? echo(exchange.head()) : std::string();
    co_return co_await exchange.reply(200, fields, body);
}

}  // namespace

core::Task<void> Forward::handle(http::Exchange& exchange)
{
    exchange.record.route = "forward";
    std::string fields;
    auto passed = co_await pass_on(exchange, fields);
    exchange.watchdog().watch_client(false);
    exchange.watchdog().guard_upstream(nullptr);
    if (!passed) {
        co_await proxy_.refuse(exchange, passed.error(), fields);
    }
}

core::Task<core::Result<void>> Forward::pass_on(http::Exchange& exchange, std::string& fields)
{
    const auto policies = proxy_.policies();
    const auto& head = exchange.head();
    auto admitted = co_await proxy_.admit(exchange, *policies, false, fields);
    if (!admitted) {
        co_return admitted.error();
    }
    const auto account = std::move(*admitted);
    auto target = http::parse_absolute_form(head.verb, head.target);
    if (!target) {
        co_return target.error();
    }
    exchange.record.authority = target->host_field();
    exchange.record.path = target->rest.substr(0, target->rest.find('?'));
    const auto hops = http::max_forwards(head);
    if (!hops) {
        co_return hops.error();
    }
    if (*hops == 0U) {
        co_return co_await answer_here(exchange);
    }
    std::string origin_target;
    target->append_origin_target(origin_target);
    pipeline::ForwardRequest request(std::move(origin_target), target->host_field(),
                                     policies->settings.idle_timeout);
    request.progress_interval = policies->settings.progress_interval;
    if (*hops) {
        request.max_forwards = **hops - 1;
    }
    auto begun = co_await account->begin(target->authority.to_string());
    if (!begun) {
        co_return begun;
    }
    VettedConnections connections(proxy_, exchange, policies, account, target->authority);
    auto passed = co_await pipeline::forward_request(exchange, policies->pipeline,
                                                     proxy_.via_name(), request, connections);
    const auto& record = exchange.record;
    const auto outcome = passed ? record.outcome : passed.error().info().code;
    co_await account->settle(target->authority.to_string(), outcome, record.status, record.bytes_in,
                             record.bytes_out, std::chrono::steady_clock::now() - exchange.started,
                             record.request_id);
    co_return passed;
}

}  // namespace llmproxy::handlers
