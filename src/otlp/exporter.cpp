#include "llmproxy/otlp/exporter.hpp"

#include "collector.hpp"
#include "encode.hpp"
#include "llmproxy/telemetry/log.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

namespace llmproxy::otlp {
namespace {

namespace asio = boost::asio;
using telemetry::TraceEnd;

using Batch = std::vector<telemetry::AccessRecord>;

constexpr int kMostPosts = 3;
constexpr std::chrono::seconds kFirstPause{1};
constexpr int kPauseFactor = 4;

core::Task<std::string> encode_batch(std::shared_ptr<const Batch> batch, const Resource& resource)
{
    co_return encode(*batch, resource);
}

}  // namespace

struct Exporter::State {
    State(Settings the_settings, Parts the_parts, Collector to)
        : settings(std::move(the_settings)), parts(std::move(the_parts)),
          collector(std::move(to)), resource{settings.service_name, parts.version, parts.instance},
          timer(parts.strand)
    {
    }

    [[nodiscard]] Batch take_batch()
    {
        const std::lock_guard lock(mutex);
        Batch batch;
        if (queue.size() <= settings.batch) {
            batch.swap(queue);
        } else {
            const auto end = queue.begin() + static_cast<std::ptrdiff_t>(settings.batch);
            batch.assign(std::make_move_iterator(queue.begin()), std::make_move_iterator(end));
            queue.erase(queue.begin(), end);
        }
        return batch;
    }
    [[nodiscard]] std::size_t waiting() const
    {
        const std::lock_guard lock(mutex);
        return queue.size();
    }
    [[nodiscard]] core::Deadline deadline() const
    {
        const std::lock_guard lock(mutex);
        return core::Deadline::after(std::chrono::steady_clock::now(), settings.timeout).min(until);
    }

    core::Task<void> pause(core::Duration time);
    core::Task<void> send(Batch batch);
    core::Task<Posted> post_until_done(const std::string& body);
    void note(const Posted& posted, std::size_t requests);

    const Settings settings;
    Parts parts;
    Collector collector;
    const Resource resource;
    asio::steady_timer timer;  // of the strand
    bool works = true;         // as far as the log was told; of the strand
    std::atomic<bool> stopped{false};
    std::atomic<bool> ended{false};

    mutable std::mutex mutex;  // guards what follows
    Batch queue;
    core::Deadline until;
};

core::Task<void> Exporter::State::pause(core::Duration time)
{
    if (stopped) {
        co_return;
    }
    timer.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(time));
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    [[maybe_unused]] auto [code] = co_await timer.async_wait(token);
}

core::Task<Posted> Exporter::State::post_until_done(const std::string& body)
{
    core::Duration wait = kFirstPause;
    for (int posts = 1;; ++posts) {
        auto posted = co_await collector.post(body, deadline());
        if (posted.end != Posted::End::later || posts == kMostPosts || stopped) {
            co_return posted;
        }
        co_await pause(wait);
        wait *= kPauseFactor;
    }
}

core::Task<void> Exporter::State::send(Batch batch)
{
    const auto requests = batch.size();
    const auto shared = std::make_shared<const Batch>(std::move(batch));
    auto encoding = encode_batch(shared, resource);
    const auto body =
        co_await asio::co_spawn(parts.aside, std::move(encoding), asio::use_awaitable);
    const auto posted = co_await post_until_done(body);
    note(posted, requests);
}

void Exporter::State::note(const Posted& posted, std::size_t requests)
{
    const bool taken = posted.end == Posted::End::taken;
    parts.metrics.traces(taken ? TraceEnd::exported : TraceEnd::failed, requests);
    if (taken != works) {
        works = taken;
        auto& log = telemetry::log("otlp");
        if (taken) {
            log.info({}, "the collector takes traces again", {{"endpoint", settings.endpoint}});
        } else {
            log.warn({}, "the collector does not take traces: they are lost",
                     {{"endpoint", settings.endpoint}, {"reason", posted.detail}});
        }
    }
}

Exporter::Exporter(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Exporter::~Exporter() = default;

core::Result<std::unique_ptr<Exporter>> Exporter::make(Settings settings, Parts parts)
{
    auto collector = Collector::make(settings, parts.resolver);
    if (!collector) {
        return collector.error();
    }
    auto state =
        std::make_unique<State>(std::move(settings), std::move(parts), std::move(*collector));
    return std::unique_ptr<Exporter>(new Exporter(std::move(state)));
}

void Exporter::take(const telemetry::AccessRecord& record) noexcept
{
    auto& state = *state_;
    bool taken = false;
    try {
        if (!state.stopped && state.waiting() < state.settings.queue) {
            auto copy = record;
            const std::lock_guard lock(state.mutex);
            state.queue.push_back(std::move(copy));
            taken = true;
            if (state.queue.size() == state.settings.batch) {
                asio::post(state.parts.strand, [&state] { state.timer.cancel(); });
            }
        }
    } catch (const std::exception& error) {  // no memory
        telemetry::log("otlp").debug({}, "a trace was dropped", {{"error", error.what()}});
    }
    if (!taken) {
        state.parts.metrics.traces(TraceEnd::dropped, 1);
    }
}

core::Task<void> Exporter::run()
{
    auto& state = *state_;
    while (!state.stopped) {
        if (state.waiting() < state.settings.batch) {
            co_await state.pause(state.settings.interval);
        }
        auto batch = state.take_batch();
        if (!batch.empty()) {
            co_await state.send(std::move(batch));
        }
    }
    for (;;) {
        auto rest = state.take_batch();
        if (rest.empty()) {
            break;
        }
        co_await state.send(std::move(rest));
    }
    state.ended = true;
}

void Exporter::stop(core::Deadline until)
{
    auto& state = *state_;
    {
        const std::lock_guard lock(state.mutex);
        state.until = until;
    }
    state.stopped = true;
    asio::post(state.parts.strand, [&state] { state.timer.cancel(); });
}

const asio::any_io_executor& Exporter::strand() const noexcept
{
    return state_->parts.strand;
}

bool Exporter::ended() const noexcept
{
    return state_->ended;
}

}  // namespace llmproxy::otlp
