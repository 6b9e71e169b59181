#pragma once

#include <cstdint>
#include <optional>

namespace llmproxy::telemetry {

/// What the kernel says of this process (proc(5)); what cannot be read is left out.
struct ProcessFigures {
    struct Stat {
        double cpu_seconds = 0;  ///< user and system
        std::uint64_t threads = 0;
        std::uint64_t virtual_bytes = 0;
        std::uint64_t resident_bytes = 0;
        std::optional<double> started;  ///< seconds since the Unix epoch
    };
    std::optional<Stat> stat;
    std::optional<std::uint64_t> open_descriptors;
    std::optional<std::uint64_t> most_descriptors;  ///< none: without limit
};

/// Reads files below /proc: some tens of microseconds, and more with many descriptors.
[[nodiscard]] ProcessFigures read_process();

}  // namespace llmproxy::telemetry
