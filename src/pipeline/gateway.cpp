#include "llmproxy/pipeline/gateway.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/pipeline/policies.hpp"
#include "llmproxy/upstream/slot.hpp"
#include "model_list.hpp"
#include "request_context.hpp"

#include <algorithm>

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;

core::Result<void> route(RequestContext& context)
{
    const auto& head = context.exchange.head();
    auto target = http::parse_origin_form(head.target);
    if (!target) {
        return target.error();
    }
    context.target = *target;
    context.route = openai::route_of(target->path);
    auto& record = context.exchange.record;
    record.route = openai::to_string(context.route);

    if (http::came_through(head.fields, context.via_name)) {
        return Failure(Errc::loop_detected, Origin::client, "own name in Via");
    }
    if (openai::is_inference(context.route) && head.verb != http::Verb::post) {
        return Failure(Errc::method_not_allowed, Origin::client, std::string(head.method));
    }
    context.upgrade = context.route == openai::Route::realtime &&
                      head.fields.lists(FieldName::connection, "upgrade") &&
                      core::iequals(head.fields.get(FieldName::upgrade), "websocket") &&
                      head.verb == http::Verb::get && has_no_body(head);
    return {};
}

/// The key that browsers put among the realtime subprotocols; empty if there is none.
std::string_view subprotocol_key(const http::RequestHead& head)
{
    std::string_view key;
    core::for_each_item(head.fields.get(FieldName::sec_websocket_protocol),
                        [&](std::string_view item) {
                            if (item.starts_with(auth::kKeySubprotocolPrefix)) {
                                key = item.substr(auth::kKeySubprotocolPrefix.size());
                            }
                        });
    return key;
}

auth::Credentials credentials_of(const RequestContext& context)
{
    const auto& head = context.exchange.head();
    auth::Credentials credentials;
    credentials.authorization = head.fields.get(FieldName::authorization);
    credentials.x_api_key = head.fields.get("x-api-key");
    credentials.api_key = head.fields.get("api-key");
    if (context.upgrade && credentials.authorization.empty() && credentials.x_api_key.empty()) {
        credentials.x_api_key = subprotocol_key(head);
    }
    return credentials;
}

/// The word by which tokens are granted a route: its name, or for those without one of their own the first segment below
/// `/v1/`.
std::string_view route_word(const RequestContext& context)
{
    constexpr std::string_view kBase = "/v1/";
    if (context.route != openai::Route::other || !context.target.path.starts_with(kBase)) {
        return openai::to_string(context.route);
    }
    const auto rest = std::string_view(context.target.path).substr(kBase.size());
    return rest.substr(0, rest.find('/'));
}

/// Whose request it is, and whether it may be made at all.
core::Result<void> admit(RequestContext& context, accounts::AccountPtr account)
{
    auto& record = context.exchange.record;
    record.token = account->name();
    record.project = account->stored() ? account->project_name() : std::string();
    context.account = std::move(account);
    if (auto granted = context.account->check_route(route_word(context)); !granted) {
        return granted;
    }
    auto* const accounts = context.policies->accounts;
    if (accounts == nullptr) {
        return {};
    }
    accounts::Admission wanted;
    wanted.route = record.route;
    wanted.tunnel = context.upgrade;
    wanted.request_id = record.request_id;
    auto grant = accounts->admit(context.account, wanted, context.error_fields);
    if (!grant) {
        return grant.error();
    }
    context.spending = std::make_unique<Spending>(*accounts, std::move(*grant));
    accounts->watch(context.spending->grant(), context.exchange.watchdog().executor(),
                    [&context] { end_when_revoked(context); });
    return {};
}

/// The `model` of a realtime connection's query, decoded; empty if there is none. Says in the context where it stands.
core::Result<std::string> query_model(RequestContext& context)
{
    constexpr std::string_view kKey = "model=";
    const auto query = context.target.query;
    for (std::size_t at = 0; at < query.size();) {
        const auto end = std::min(query.find('&', at), query.size());
        if (query.substr(at, end - at).starts_with(kKey)) {
            if (context.model_at) {
                return Failure(Errc::bad_request, Origin::client, "model twice in the query")
                    .say("'model' is given more than once.")
                    .at("model");
            }
            context.model_at = ByteRange{at + kKey.size(), end - at - kKey.size()};
        }
        at = end + 1;
    }
    if (!context.model_at) {
        return std::string();
    }
    std::string value(query.substr(context.model_at->offset, context.model_at->size));
    std::replace(value.begin(), value.end(), '+', ' ');
    return core::percent_decoded(value);
}

}  // namespace

std::shared_ptr<const Policies>
make_policies(Settings settings, policy::Settings rules,
              std::shared_ptr<const auth::Authenticator> authenticator,
              accounts::Accounts* accounts, accounts::ProviderKeys* provider_keys,
              std::shared_ptr<const upstream::Backends> backends)
{
    auto policies = std::make_shared<Policies>();
    policies->settings = std::move(settings);
    policies->rules = rules;
    policies->authenticator = std::move(authenticator);
    policies->accounts = accounts;
    policies->provider_keys = provider_keys;
    policies->backends = std::move(backends);
    policies->models = std::make_shared<ModelList>();
    return policies;
}

Gateway::Gateway(std::shared_ptr<const Policies> policies, std::string instance,
                 std::shared_ptr<Resources> resources)
    : policies_(std::move(policies)), via_name_(http::via_pseudonym(instance)),
      admission_(policy::AdmissionLimits{policies_->settings.max_concurrent_requests,
                                         policies_->settings.max_queued_requests}),
      buffered_(policies_->settings.max_buffered_bytes), retries_(policies_->rules.retry_budget),
      recent_(policies_->settings.max_known_resources), resources_(std::move(resources))
{
}

Gateway::~Gateway() = default;

void Gateway::replace(std::shared_ptr<const Policies> policies)
{
    const std::lock_guard lock(mutex_);
    policies_ = std::move(policies);
    admission_.set_limits(policy::AdmissionLimits{policies_->settings.max_concurrent_requests,
                                                  policies_->settings.max_queued_requests});
    buffered_.set_limit(policies_->settings.max_buffered_bytes);
    retries_.configure(policies_->rules.retry_budget);
    recent_.set_limit(policies_->settings.max_known_resources);
    for (const auto& backend : policies_->backends->all()) {
        backend->circuit().configure(policies_->rules.circuit);
    }
}

core::Result<void> Gateway::order_circuit(std::string_view backend, policy::CircuitOrder order)
{
    return policies()->backends->order_circuit(backend, order);
}

std::shared_ptr<const Policies> Gateway::policies() const
{
    const std::lock_guard lock(mutex_);
    return policies_;
}

core::Task<void> Gateway::serve(http::Exchange& exchange)
{
    RequestContext context(exchange, policies(), via_name_);
    context.budget = &retries_;
    context.head_times = &head_times_;
    context.resources = resources_ ? resources_.get() : &recent_;
    auto result = co_await take_through_phases(context);
    exchange.watchdog().watch_client(false);
    exchange.watchdog().guard_upstream(nullptr);
    if (context.revoked) {
        const Failure ended(Errc::invalid_api_key, Origin::self, "the token was revoked meanwhile");
        exchange.record.outcome = ended.info().code;
        exchange.record.error = ended.describe();
        exchange.keep_alive = false;
        if (!exchange.committed()) {
            result = ended;
        }
    }
    if (context.spending) {
        if (!result) {
            exchange.record.outcome = result.error().info().code;
        }
        co_await context.spending->close(context);
    }
    if (!result) {
        if (result.error().errc() == Errc::method_not_allowed) {
            context.error_fields += "Allow: POST\r\n";
        }
        append_server_timing(context.error_fields, context);
        co_await exchange.reply_error(result.error(), context.error_fields);
    }
}

core::Task<core::Result<policy::AdmissionGate::Permit>>
Gateway::wait_in_queue(RequestContext& context)
{
    auto& watchdog = context.exchange.watchdog();
    const auto arrived = std::chrono::steady_clock::now();
    const telemetry::PartTimer part(context.exchange.record.trace, "queue");
    watchdog.watch_client(true);
    const auto until =
        core::Deadline::after(arrived, context.policies->settings.queue_timeout).min(context.total);
    auto permit = co_await upstream::wait_for_slot(admission_, until, watchdog);
    context.waited = std::chrono::steady_clock::now() - arrived;
    context.exchange.record.times.queue = context.waited;
    if (permit) {
        watchdog.watch_client(false);
    }
    co_return permit;
}

core::Task<core::Result<void>> Gateway::take_through_phases(RequestContext& context)
{
    auto& exchange = context.exchange;
    const auto& settings = context.policies->settings;
    context.total = core::Deadline::after(exchange.started, settings.total_timeout);

    auto routed = route(context);
    if (!routed) {
        co_return routed;
    }
    // authenticate
    const auto& authenticator = *context.policies->authenticator;
    const auto credentials = credentials_of(context);
    auto account = authenticator.recall(credentials);
    if (!account) {
        const telemetry::PartTimer part(exchange.record.trace, "authenticate");
        account = co_await authenticator.look_up(credentials, context.total);
    }
    if (!*account) {
        co_return account->error();
    }

    // admit
    auto admitted = admit(context, std::move(**account));
    if (!admitted) {
        co_return admitted;
    }
    auto permit = admission_.try_enter();
    if (!permit) {
        auto granted = co_await wait_in_queue(context);
        if (!granted) {
            co_return granted.error();
        }
        permit = std::move(*granted);
    }
    exchange.record.times.queue = context.waited;

    if (context.route == openai::Route::models && exchange.head().verb == http::Verb::get) {
        co_return co_await context.policies->models->answer(context);
    }

    const auto& framing = exchange.head().framing;
    if (!openai::is_inference(context.route) && framing.kind == http::Framing::Kind::length &&
        framing.length > settings.max_upload_bytes) {
        co_return Failure(Errc::request_too_large, Origin::client)
            .say("The request body is larger than the limit of " +
                 std::to_string(settings.max_upload_bytes) + " bytes.");
    }

    // the body, as far as it decides anything
    std::optional<std::string_view> model;
    std::string sniffed;
    if (openai::is_inference(context.route)) {
        context.held = buffered_.hold();
        const auto complete = hold_what_came(context);
        if (!complete) {
            co_return complete.error();
        }
        if (!*complete) {
            const telemetry::PartTimer part(exchange.record.trace, "read_body");
            auto held = co_await hold_rest(context);
            if (!held) {
                co_return held;
            }
        }
        auto understood = understand_body(context);
        if (!understood) {
            co_return understood;
        }
        if (context.facts->model) {
            model = *context.facts->model;
        }
    } else if (context.route == openai::Route::realtime) {
        auto asked = query_model(context);
        if (!asked) {
            co_return asked.error();
        }
        sniffed = std::move(*asked);
    } else if (exchange.head()
                   .fields.get(FieldName::content_type)
                   .starts_with("multipart/form-data")) {
        auto found = co_await sniff_multipart_model(context);
        if (!found) {
            co_return found.error();
        }
        sniffed = std::move(*found);
    }
    if (!sniffed.empty()) {
        model = sniffed;
    }
    if (may_have_home(context)) {
        auto looked = co_await find_home(context);
        if (!looked) {
            co_return looked;
        }
    }
    if (model) {
        auto granted = context.account->check_model(*model);
        if (!granted) {
            co_return granted;
        }
    }
    auto chosen = choose_backend(context, model);
    if (!chosen) {
        co_return chosen;
    }
    if (context.spending) {
        auto reserved = co_await context.spending->reserve(context);
        if (!reserved) {
            co_return reserved;
        }
    }
    co_return co_await run_attempts(context);
}

}  // namespace llmproxy::pipeline
