#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace llmproxy::bench {

/// What a run of the load generator has seen. Times are nanoseconds.
struct LoadReport {
    std::uint64_t completed = 0;
    std::uint64_t unfinished = 0;  ///< under way when the time ran out
    std::uint64_t connections = 0;
    std::uint64_t body_bytes = 0;
    std::uint64_t reads = 0;
    std::int64_t wall = 0;
    std::int64_t cpu = 0;                         ///< of the load generator itself
    std::map<std::string, std::uint64_t> errors;  ///< by reason
    std::vector<std::int64_t> latencies;          ///< request to last byte of the reply
    std::vector<std::int64_t> delays;             ///< an event's time stamp to its arrival

    /// One line of JSON; sorts the samples.
    [[nodiscard]] std::string to_json();
};

}  // namespace llmproxy::bench
