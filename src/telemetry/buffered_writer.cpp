#include "buffered_writer.hpp"

#include "llmproxy/telemetry/log.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr std::size_t kKeptCapacity = 256 * 1024;
constexpr std::chrono::milliseconds kMaxDelay{100};
constexpr std::chrono::seconds kStopPatience{2};

std::atomic<std::uint64_t> last_log_id{0};

}  // namespace

BufferedWriter::BufferedWriter(LineSink sink, std::string_view name)
    : name_(name), id_(++last_log_id), sink_(std::move(sink))
{
    thread_ = std::thread([this] {
        leave_signals_to_others();
        run();
    });
}

BufferedWriter::~BufferedWriter()
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

void BufferedWriter::reopen()
{
    {
        const std::lock_guard lock(mutex_);
        reopen_ = true;
    }
    wake_.notify_one();
}

void BufferedWriter::flush()
{
    std::unique_lock lock(mutex_);
    const auto wanted = ++flush_wanted_;
    wake_.notify_one();
    flushed_.wait(lock, [&] { return flush_done_ >= wanted; });
}

BufferedWriter::Buffer& BufferedWriter::local_buffer()
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
void BufferedWriter::signal(std::atomic<bool>& flag)
{
    if (!flag.load() && !flag.exchange(true)) {
        {
            const std::lock_guard lock(mutex_);
        }
        wake_.notify_one();
    }
}

void BufferedWriter::run()
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

void BufferedWriter::write_buffers()
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

void BufferedWriter::write_fetched()
{
    const auto lost = sink_.write(fetched_, [this] {
        return std::chrono::steady_clock::now().time_since_epoch().count() >= give_up_at_.load();
    });
    dropped_.fetch_add(lost, std::memory_order_relaxed);
    const bool failing = lost > 0;
    if (failing && !failing_) {
        log(name_).warn("", "the log loses lines",
                        {{"cause", std::system_category().message(sink_.last_error())}});
    }
    failing_ = failing;
    fetched_.clear();
    if (fetched_.capacity() > kKeptCapacity) {
        fetched_.shrink_to_fit();
    }
}

void BufferedWriter::reopen_sink()
{
    if (const auto result = sink_.reopen(); !result) {
        log(name_).error("", "the log could not be reopened",
                         {{"cause", result.error().describe()}});
    }
}

}  // namespace llmproxy::telemetry
