#pragma once

#include "line_sink.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace llmproxy::telemetry {

/// Writes the lines of many threads to a sink without making any of them wait: each has a buffer of
/// its own, which one writer thread empties when its first line is 100 ms old or it holds 64 KiB.
/// Lines that find 1 MiB waiting, or that the sink refuses, are lost and counted.
///
/// Thread safety: every member may be called concurrently.
/// Lifetime: destroying it writes what is buffered, waiting at most 2 s for the sink.
class BufferedWriter {
public:
    /// \param name  of the log, for diagnostics; static text.
    BufferedWriter(LineSink sink, std::string_view name);
    ~BufferedWriter();
    BufferedWriter(const BufferedWriter&) = delete;
    BufferedWriter& operator=(const BufferedWriter&) = delete;

    /// \param append  appends one line to the text that it is given.
    template <typename Append>
    void write(const Append& append)
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
            append(buffer.text);
            full = before < kWakeBytes && buffer.text.size() >= kWakeBytes;
        }
        signal(pending_);
        if (full) {
            signal(full_);
        }
    }

    void reopen();
    void flush();
    [[nodiscard]] std::uint64_t dropped() const noexcept
    {
        return dropped_.load(std::memory_order_relaxed);
    }

private:
    static constexpr std::size_t kWakeBytes = 64 * 1024;
    static constexpr std::size_t kMaxBuffered = 1024 * 1024;

    /// Lines of one thread that the writer has not fetched yet.
    struct Buffer {
        std::mutex mutex;  // shared by its thread and, for a swap, the writer
        std::string text;
    };

    Buffer& local_buffer();
    void signal(std::atomic<bool>& flag);
    [[nodiscard]] bool asked() const noexcept
    {
        return stop_ || reopen_ || flush_wanted_ > flush_done_;
    }
    void run();
    void write_buffers();
    void write_fetched();
    void reopen_sink();

    const std::string_view name_;
    const std::uint64_t id_;
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

}  // namespace llmproxy::telemetry
