#include "model_list.hpp"

#include "llmproxy/telemetry/log.hpp"
#include "reply.hpp"

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

constexpr std::chrono::minutes kFresh{5};
constexpr std::size_t kMaxList = 4 * 1024 * 1024;

Failure bad(const char* why)
{
    return {Errc::upstream_bad_response, Origin::upstream, why};
}

core::Failure lost(const RequestContext& context, const boost::system::error_code& cause)
{
    using Verdict = net::Watchdog::Verdict;
    switch (context.exchange.watchdog().verdict()) {
    case Verdict::expired:
        return {Errc::upstream_timeout, Origin::upstream, "listing models", cause};
    case Verdict::client_gone: return {Errc::client_gone, Origin::client, "listing models", cause};
    case Verdict::stopped: return {Errc::cancelled, Origin::self, "listing models", cause};
    case Verdict::none: break;
    }
    return {Errc::upstream_reset, Origin::upstream, "listing models", cause};
}

}  // namespace

core::Task<core::Result<std::string>> ModelList::fetch(RequestContext& context,
                                                       std::shared_ptr<upstream::Backend> backend)
{
    auto& watchdog = context.exchange.watchdog();
    const auto now = std::chrono::steady_clock::now();
    const auto& settings = context.policies->settings;
    const auto queue_until = core::Deadline::after(now, settings.queue_timeout).min(context.total);
    for (bool fresh = false;; fresh = true) {
        upstream::LeaseTimes unwanted;
        auto lease = co_await backend->lease(fresh, queue_until, context.total, watchdog, unwanted);
        if (!lease) {
            co_return lease.error();
        }
        watchdog.guard_upstream(&lease->stream());
        std::string head = "GET " + backend->url().path + "/models HTTP/1.1\r\n";
        http::append_field(head, "Host", backend->url().authority);
        http::append_field(head, "Accept", "application/json");
        http::append_field(head, "Via", "1.1 " + context.via_name);
        for (const auto& [name, value] : backend->settings().headers) {
            http::append_field(head, name, value);
        }
        if (const auto& key = backend->key(backend->keys().next()); !key.empty()) {
            head.append("Authorization: Bearer ").append(key.reveal()).append("\r\n");
        }
        head += "\r\n";
        watchdog.expect(
            core::Deadline::after(now, settings.response_header_timeout).min(context.total));
        const auto written = co_await lease->stream().write(head);
        Upload no_body(context, lease->stream());
        ReplyHead reply;
        core::Result<void> got;
        if (written) {
            got = co_await read_reply_head(context, *lease, no_body, reply);
        } else {
            got = lost(context, written.error());
        }
        if (!got) {
            watchdog.guard_upstream(nullptr);
            const bool dead = lease->reused() && !fresh && !reply.any_byte &&
                              got.error().errc() == Errc::upstream_reset;
            if (dead) {
                continue;
            }
            co_return got.error();
        }
        if (reply.head.status != 200) {
            watchdog.guard_upstream(nullptr);
            co_return bad("status of the model list is not 200");
        }
        auto& buffer = lease->buffer();
        http::BodyReader reader(lease->stream(), buffer, reply.head.framing,
                                http::ChunkDecoder::Extensions::skip);
        std::string body;
        std::vector<std::string_view> runs;
        for (;;) {
            runs.clear();
            auto taken = reader.take(runs);
            for (const auto run : runs) {
                body.append(run);
            }
            reader.drop();
            if (!taken || body.size() > kMaxList) {
                watchdog.guard_upstream(nullptr);
                co_return bad("body of the model list");
            }
            if (reader.done()) {
                break;
            }
            auto filled = co_await reader.fill();
            if (!filled) {
                watchdog.guard_upstream(nullptr);
                co_return lost(context, filled.error());
            }
        }
        watchdog.guard_upstream(nullptr);
        if (reply.head.keep_alive && buffer.empty()) {
            lease->keep();
        }
        co_return body;
    }
}

core::Task<core::Result<std::shared_ptr<const ModelList::Models>>>
ModelList::models_of(RequestContext& context, std::shared_ptr<upstream::Backend> backend)
{
    const auto now = std::chrono::steady_clock::now();
    {
        const std::lock_guard lock(mutex_);
        const auto known = by_backend_.find(backend->name());
        if (known != by_backend_.end() && now < known->second.until) {
            co_return known->second.models;
        }
    }
    auto body = co_await fetch(context, backend);
    if (!body) {
        co_return body.error();
    }
    const auto json = nlohmann::json::parse(*body, nullptr, false);
    if (!json.is_object() || !json.contains("data") || !json["data"].is_array()) {
        co_return bad("the model list is not a list object");
    }
    auto models = std::make_shared<Models>();
    for (const auto& one : json["data"]) {
        if (one.is_object() && one.contains("id") && one["id"].is_string()) {
            const auto id = one["id"].get<std::string>();
            if (backend->serves(id)) {
                models->emplace(id, one);
            }
        }
    }
    std::shared_ptr<const Models> result = std::move(models);
    Listed listed;
    listed.until = now + kFresh;
    listed.models = result;
    const std::lock_guard lock(mutex_);
    by_backend_[backend->name()] = std::move(listed);
    co_return result;
}

core::Task<core::Result<void>> ModelList::answer(RequestContext& context)
{
    auto& exchange = context.exchange;
    constexpr std::string_view kList = "/v1/models";
    const auto path = context.target.path;
    const auto wanted =
        path.size() > kList.size() + 1 ? path.substr(kList.size() + 1) : std::string_view();
    exchange.watchdog().watch_client(true);
    Models all;
    std::optional<Failure> last;
    std::size_t answered = 0;
    for (const auto& backend : context.policies->backends->all()) {
        auto models = co_await models_of(context, backend);
        if (!models) {
            if (models.error().errc() == Errc::client_gone) {
                co_return models.error();
            }
            telemetry::log("pipeline")
                .warn_about(exchange.record, "a backend could not list models",
                            {{"backend", backend->name()}, {"error", models.error().describe()}});
            last = models.error();
            continue;
        }
        ++answered;
        all.insert((*models)->begin(), (*models)->end());
    }
    const auto& names = context.policies->backends->public_models();
    if (answered == 0 && last && names.empty()) {
        co_return *last;
    }
    for (const auto& [name, targets] : names) {
        if (!targets->all().empty()) {
            all[name] = {
                {"id", name}, {"object", "model"}, {"created", 0}, {"owned_by", "llm-proxy"}};
        }
    }
    constexpr std::string_view kJson = "Content-Type: application/json\r\n";
    if (wanted.empty()) {
        nlohmann::json list{{"object", "list"}, {"data", nlohmann::json::array()}};
        for (auto& [id, model] : all) {
            list["data"].push_back(std::move(model));
        }
        const auto body = list.dump();
        co_return co_await exchange.reply(200, kJson, body);
    }
    const auto found = all.find(std::string(wanted));
    if (found == all.end()) {
        co_return Failure(Errc::model_not_found, Origin::client)
            .say("The model `" + std::string(wanted.substr(0, 200)) + "` does not exist.")
            .at("model");
    }
    const auto body = found->second.dump();
    co_return co_await exchange.reply(200, kJson, body);
}

}  // namespace llmproxy::pipeline
