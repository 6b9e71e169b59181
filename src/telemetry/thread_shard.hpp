#pragma once

#include <atomic>
#include <cstddef>

namespace llmproxy::telemetry {

/// Which of so many copies the calling thread counts in: threads take them in turn.
[[nodiscard]] inline std::size_t shard_of_this_thread(std::size_t shards) noexcept
{
    static std::atomic<std::size_t> threads{0};
    thread_local const std::size_t number = threads.fetch_add(1, std::memory_order_relaxed);
    return number % shards;
}

}  // namespace llmproxy::telemetry
