#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace llmproxy::pipeline {

/// Admission, body sizes and the deadlines of one request: `limits:`, `timeout:`, `default_backend`.
struct Settings {
    std::uint32_t max_concurrent_requests = 1024;
    std::uint32_t max_queued_requests = 1024;
    std::chrono::nanoseconds queue_timeout{std::chrono::seconds(5)};
    std::uint64_t max_body_bytes = 32ULL << 20;
    std::uint64_t max_buffered_bytes = 1ULL << 30;
    std::uint64_t max_upload_bytes = 1ULL << 30;
    std::uint32_t max_known_resources = 100'000;  ///< ids of files, responses and such

    std::chrono::nanoseconds response_header_timeout{std::chrono::minutes(3)};
    std::chrono::nanoseconds stream_idle_timeout{std::chrono::seconds(120)};
    std::chrono::nanoseconds write_timeout{std::chrono::seconds(60)};
    std::chrono::nanoseconds total_timeout{std::chrono::minutes(15)};

    std::uint64_t logged_body_bytes = 0;  ///< kept of the bodies of inference requests; 0: none
    std::string default_backend;          ///< for routes without a model; empty: none
};

}  // namespace llmproxy::pipeline
