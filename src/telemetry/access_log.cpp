#include "llmproxy/telemetry/access_log.hpp"

#include "buffered_writer.hpp"
#include "llmproxy/telemetry/log.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr auto kAll = std::numeric_limits<std::uint64_t>::max();

}  // namespace

AccessLog::AccessLog(std::unique_ptr<BufferedWriter> writer,
                     const Settings::AccessLog& settings) noexcept
    : writer_(std::move(writer)), format_(settings.format)
{
    set_sample(settings.sample);
}

AccessLog::~AccessLog() = default;

core::Result<std::unique_ptr<AccessLog>> AccessLog::open(const Settings::AccessLog& settings)
{
    std::unique_ptr<BufferedWriter> writer;
    if (settings.enabled) {
        auto sink = LineSink::open(settings.path);
        if (!sink) {
            return sink.error();
        }
        writer = std::make_unique<BufferedWriter>(std::move(sink).value(), "access_log");
    }
    return std::unique_ptr<AccessLog>(new AccessLog(std::move(writer), settings));
}

void AccessLog::write(const AccessRecord& record)
{
    if (!writer_) {
        return;
    }
    const auto below = sampled_below_.load(std::memory_order_relaxed);
    if (below == kAll || record.slow || has_trouble(record) ||
        std::hash<std::string_view>()(record.request_id) < below) {
        writer_->write([&](std::string& out) {
            format_ == AccessFormat::json ? append_json_line(out, record)
                                          : append_envoy_line(out, record);
        });
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
