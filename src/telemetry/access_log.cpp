#include "llmproxy/telemetry/access_log.hpp"

#include "line_sink.hpp"
#include "llmproxy/telemetry/log.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace llmproxy::telemetry {
namespace {

constexpr std::size_t kWakeBytes = 64 * 1024;
constexpr std::size_t kMaxBuffered = 1024 * 1024;
constexpr std::size_t kKeptCapacity = 256 * 1024;
constexpr std::chrono::milliseconds kMaxDelay{100};
constexpr std::chrono::seconds kStopPatience{2};
constexpr auto kAll = std::numeric_limits<std::uint64_t>::max();

/// Lines of one thread that the writer has not fetched yet.
struct Buffer {
    std::mutex mutex;  // shared by its thread and, for a swap, the writer
    std::string text;
};

std::atomic<std::uint64_t> last_log_id{0};

}  // namespace

class AccessLog::Writer {
public:
    Writer(LineSink sink, AccessFormat format) : format_(format), sink_(std::move(sink))
    {
        thread_ = std::thread([this] {
            leave_signals_to_others();
            run();
        });
    }

    ~Writer()
    {
        {
            const std::lock_guard lock(mutex_);
            stop_ = true;
            give_up_at_.store(
                (std::chrono::steady_clock::now() + kStopPatience).time_since_epoch().count());
        }
        wake_.notify_one();
        thread_.join();
    }

    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void write(const AccessRecord& record)
    {
        auto& buffer = local_buffer();
        bool full = false;
        {
            const std::lock_guard lock(buffer.mutex);
            const auto before = buffer.text.size();
            if (before >= kMaxBuffered) {
                dropped_.fetch_add(1, std::memory_order_relaxed);
                return;
            }
            format_ == AccessFormat::json ? append_json_line(buffer.text, record)
                                          : append_envoy_line(buffer.text, record);
            full = before < kWakeBytes && buffer.text.size() >= kWakeBytes;
        }
        signal(pending_);
        if (full) {
            signal(full_);
        }
    }

    void reopen()
    {
        {
            const std::lock_guard lock(mutex_);
            reopen_ = true;
        }
        wake_.notify_one();
    }

    void flush()
    {
        std::unique_lock lock(mutex_);
        const auto wanted = ++flush_wanted_;
        wake_.notify_one();
        flushed_.wait(lock, [&] { return flush_done_ >= wanted; });
    }

    [[nodiscard]] std::uint64_t dropped() const noexcept
    {
        return dropped_.load(std::memory_order_relaxed);
    }

private:
    Buffer& local_buffer()
    {
        using Entry = std::pair<std::uint64_t, std::shared_ptr<Buffer>>;
        thread_local std::vector<Entry> entries;
        for (const auto& [id, buffer] : entries) {
            if (id == id_) {
                return *buffer;
            }
        }
        std::erase_if(entries, [](const Entry& entry) { return entry.second.use_count() == 1; });
        auto buffer = std::make_shared<Buffer>();
        entries.emplace_back(id_, buffer);
        const std::lock_guard lock(buffers_mutex_);
        buffers_.push_back(std::move(buffer));
        return *buffers_.back();
    }

    /// The flag is set after the line is in its buffer and cleared before the buffers are fetched,
    /// so a line that a round misses has set it again.
    void signal(std::atomic<bool>& flag)
    {
        if (!flag.load() && !flag.exchange(true)) {
            {
                const std::lock_guard lock(mutex_);
            }
            wake_.notify_one();
        }
    }

    bool asked() const noexcept { return stop_ || reopen_ || flush_wanted_ > flush_done_; }

    void run()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return pending_.load() || asked(); });
            wake_.wait_for(lock, kMaxDelay, [&] { return full_.load() || asked(); });
            pending_.store(false);
            full_.store(false);
            const bool stop = stop_;
            const bool reopen = std::exchange(reopen_, false);
            const auto flush = flush_wanted_;
            lock.unlock();
            if (reopen) {
                reopen_sink();
            }
            write_buffers();
            lock.lock();
            flush_done_ = flush;
            flushed_.notify_all();
            if (stop) {
                return;
            }
        }
    }

    void write_buffers()
    {
        std::vector<std::shared_ptr<Buffer>> buffers;
        {
            const std::lock_guard lock(buffers_mutex_);
            std::erase_if(buffers_, [](const auto& buffer) {
                if (buffer.use_count() > 1) {
                    return false;
                }
                const std::lock_guard thread_is_gone(buffer->mutex);
                return buffer->text.empty();
            });
            buffers = buffers_;
        }
        for (const auto& buffer : buffers) {
            {
                const std::lock_guard lock(buffer->mutex);
                fetched_.swap(buffer->text);
            }
            if (!fetched_.empty()) {
                write_fetched();
            }
        }
    }

    void write_fetched()
    {
        const auto lost = sink_.write(fetched_, [this] {
            return std::chrono::steady_clock::now().time_since_epoch().count() >=
                   give_up_at_.load();
        });
        dropped_.fetch_add(lost, std::memory_order_relaxed);
        const bool failing = lost > 0;
        if (failing && !failing_) {
            log("access_log")
                .warn("", "the access log loses lines",
                      {{"cause", std::system_category().message(sink_.last_error())}});
        }
        failing_ = failing;
        fetched_.clear();
        if (fetched_.capacity() > kKeptCapacity) {
            fetched_.shrink_to_fit();
        }
    }

    void reopen_sink()
    {
        if (const auto result = sink_.reopen(); !result) {
            log("access_log")
                .error("", "the access log could not be reopened",
                       {{"cause", result.error().describe()}});
        }
    }

    const std::uint64_t id_ = ++last_log_id;
    const AccessFormat format_;
    std::atomic<std::uint64_t> dropped_{0};

    std::mutex buffers_mutex_;
    std::vector<std::shared_ptr<Buffer>> buffers_;

    std::mutex mutex_;  // guards what follows, and is held while waiting
    std::condition_variable wake_;
    std::condition_variable flushed_;
    bool stop_ = false;
    bool reopen_ = false;
    std::uint64_t flush_wanted_ = 0;
    std::uint64_t flush_done_ = 0;
    std::atomic<bool> pending_{false};
    std::atomic<bool> full_{false};
    std::atomic<std::chrono::steady_clock::rep> give_up_at_{
        std::chrono::steady_clock::time_point::max().time_since_epoch().count()};

    LineSink sink_;  // of the writer thread, like the two below
    std::string fetched_;
    bool failing_ = false;
    std::thread thread_;
};

AccessLog::AccessLog(std::unique_ptr<Writer> writer, double sample) noexcept
    : writer_(std::move(writer))
{
    set_sample(sample);
}

AccessLog::~AccessLog() = default;

core::Result<std::unique_ptr<AccessLog>> AccessLog::open(const Settings::AccessLog& settings)
{
    std::unique_ptr<Writer> writer;
    if (settings.enabled) {
        auto sink = LineSink::open(settings.path);
        if (!sink) {
            return sink.error();
        }
        writer = std::make_unique<Writer>(std::move(sink).value(), settings.format);
    }
    return std::unique_ptr<AccessLog>(new AccessLog(std::move(writer), settings.sample));
}

void AccessLog::write(const AccessRecord& record)
{
    if (!writer_) {
        return;
    }
    const auto below = sampled_below_.load(std::memory_order_relaxed);
    if (below == kAll || record.slow || has_trouble(record) ||
        std::hash<std::string_view>()(record.request_id) < below) {
        writer_->write(record);
    }
}

void AccessLog::set_sample(double share) noexcept
{
    const auto clamped = std::clamp(share, 0.0, 1.0);
    sampled_below_ = clamped == 1.0 ? kAll : static_cast<std::uint64_t>(std::ldexp(clamped, 64));
}

void AccessLog::reopen()
{
    if (writer_) {
        writer_->reopen();
    }
}

void AccessLog::flush()
{
    if (writer_) {
        writer_->flush();
    }
}

std::uint64_t AccessLog::dropped() const noexcept
{
    return writer_ ? writer_->dropped() : 0;
}

}  // namespace llmproxy::telemetry
