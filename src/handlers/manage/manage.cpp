#include "llmproxy/handlers/manage.hpp"

#include "gatekeeper.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/http/target.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "request.hpp"
#include "route.hpp"
#include "send.hpp"

namespace llmproxy::handlers {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;
using manage::Call;
using manage::Match;
using manage::Reply;

constexpr std::string_view kFields = "Cache-Control: no-store\r\n"
                                     "X-Content-Type-Options: nosniff\r\n";

/// Checks a request from outside in: who calls, what is there, whether they may, what they said.
class Reception {
public:
    Reception(http::Exchange& exchange, const ManageParts& parts, manage::Gatekeeper& gatekeeper)
        : exchange_(exchange), parts_(parts), gatekeeper_(gatekeeper)
    {
    }

    core::Result<const manage::Route*> head(Call& call)
    {
        const auto& head = exchange_.head();
        core::Duration wait(0);
        const auto now = parts_.clock->now();
        auto actor = gatekeeper_.admit(head.fields.get(FieldName::authorization),
                                       head.fields.count(FieldName::authorization),
                                       exchange_.record.client, now, wait);
        if (!actor) {
            if (wait > core::Duration(0)) {
                const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait);
                http::append_field(fields_, "Retry-After", std::to_string(seconds.count()));
            }
            return actor.error();
        }
        call.actor = std::move(*actor);
        exchange_.record.token = call.actor.name;
        auto target = http::parse_origin_form(head.target);
        if (!target) {
            return target.error();
        }
        auto found = manage::match(head.verb, target->path);
        if (found.allow.empty()) {
            return Failure(Errc::not_found, Origin::client);
        }
        if (found.route == nullptr) {
            http::append_field(fields_, "Allow", found.allow);
            return Failure(Errc::method_not_allowed, Origin::client);
        }
        call.path = std::move(found.parameters);
        return admit(*found.route, target->query, call);
    }

    [[nodiscard]] const std::string& fields() const noexcept { return fields_; }

private:
    core::Result<const manage::Route*> admit(const manage::Route& route, std::string_view query,
                                             Call& call)
    {
        if (route.changes && call.actor.role != ManagementRole::admin) {
            return Failure(Errc::route_not_allowed, Origin::client, "a viewer's token")
                .say("This management token may only read.");
        }
        auto parameters = manage::parse_query(query, route.query);
        if (!parameters) {
            return parameters.error();
        }
        call.query = std::move(*parameters);
        call.if_match = manage::Precondition::parse(exchange_.head().fields.get("if-match"));
        if (route.conditional && !call.if_match.given()) {
            return Failure(Errc::precondition_required, Origin::client);
        }
        if (route.needs_store && !parts_.store) {
            return Failure(Errc::store_unavailable, Origin::self, "no store.path")
                .say("No store is configured (store.path).");
        }
        call.route_path = route.path;
        call.now = parts_.clock->wall();
        call.request_id = exchange_.record.request_id;
        return &route;
    }

    http::Exchange& exchange_;
    const ManageParts& parts_;
    manage::Gatekeeper& gatekeeper_;
    std::string fields_{kFields};
};

/// One line for each change and each refusal.
void log_outcome(const http::Exchange& exchange, const core::Failure* failure, bool changes)
{
    auto& log = telemetry::log("manage");
    const auto& record = exchange.record;
    if (failure == nullptr) {
        if (changes) {
            log.info(record.request_id, "changed",
                     {{"method", record.method}, {"path", record.path}, {"actor", record.token}});
        }
        return;
    }
    const auto status = failure->info().status;
    if (status == 401) {
        log.warn(record.request_id, "a request without a valid token was refused",
                 {{"path", record.path}, {"client", record.client}});
    } else if (status >= 500) {
        log.error(record.request_id, "a request failed",
                  {{"path", record.path}, {"error", failure->describe()}});
    }
}

}  // namespace

Manage::Manage(ManageParts parts, const ManagementSettings& settings)
    : parts_(std::move(parts)), gatekeeper_(std::make_unique<manage::Gatekeeper>(settings))
{
}

Manage::~Manage() = default;

void Manage::replace(const ManagementSettings& settings)
{
    gatekeeper_->replace(settings);
}

core::Task<void> Manage::handle(http::Exchange& exchange)
{
    exchange.record.route = "manage";
    Call call;
    Reception reception(exchange, parts_, *gatekeeper_);
    core::Result<Reply> reply = Failure();
    const auto route = reception.head(call);
    if (!route) {
        reply = route.error();
    } else {
        auto read = co_await manage::read_request(exchange, **route, call);
        if (!read) {
            reply = read.error();
        } else {
            reply = co_await (*route)->answer(parts_, call);
        }
    }
    if (!reply) {
        const auto failure = reply.error();
        log_outcome(exchange, &failure, false);
        co_await exchange.reply_error(failure, reception.fields());
        co_return;
    }
    log_outcome(exchange, nullptr, (*route)->changes);
    co_await manage::send(exchange, std::move(*reply), kFields);
}

}  // namespace llmproxy::handlers
