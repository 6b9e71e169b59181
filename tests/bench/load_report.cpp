#include "load_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace llmproxy::bench {
namespace {

constexpr double kNanosPerMicro = 1e3;
constexpr double kNanosPerSecond = 1e9;

std::string decimal(double value)
{
    char text[40];
    std::snprintf(text, sizeof text, "%.2f", value);
    return text;
}

/// Nearest rank, in microseconds.
std::string percentile(const std::vector<std::int64_t>& sorted, double share)
{
    if (sorted.empty()) {
        return "null";
    }
    const double rank = std::ceil(share * static_cast<double>(sorted.size()));
    const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
    return decimal(static_cast<double>(sorted[index]) / kNanosPerMicro);
}

std::string distribution(std::vector<std::int64_t>& samples)
{
    std::sort(samples.begin(), samples.end());
    return "{\"p50\":" + percentile(samples, 0.50) + ",\"p99\":" + percentile(samples, 0.99) +
           ",\"max\":" + percentile(samples, 1.0) + "}";
}

}  // namespace

std::string LoadReport::to_json()
{
    const double seconds = static_cast<double>(wall) / kNanosPerSecond;
    std::string reasons;
    std::uint64_t failed = 0;
    for (const auto& [reason, count] : errors) {
        failed += count;
        reasons += (reasons.empty() ? "\"" : ",\"") + reason + "\":" + std::to_string(count);
    }
    return "{\"requests\":" + std::to_string(completed) + ",\"errors\":" + std::to_string(failed) +
           ",\"error_reasons\":{" + reasons + "},\"unfinished\":" + std::to_string(unfinished) +
           ",\"seconds\":" + decimal(seconds) +
           ",\"rps\":" + decimal(seconds > 0 ? static_cast<double>(completed) / seconds : 0) +
           ",\"latency_us\":" + distribution(latencies) +
           ",\"pieces\":" + std::to_string(delays.size()) +
           ",\"delay_us\":" + distribution(delays) + ",\"reads\":" + std::to_string(reads) +
           ",\"connections\":" + std::to_string(connections) +
           ",\"body_bytes\":" + std::to_string(body_bytes) +
           ",\"own_cpu_us\":" + decimal(static_cast<double>(cpu) / kNanosPerMicro) + "}";
}

}  // namespace llmproxy::bench
