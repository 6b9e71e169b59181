#include "journal_slot.hpp"

#include <limits>

namespace llmproxy::storage {
namespace {

constexpr std::uint8_t kStream = 1;
constexpr std::uint8_t kEstimated = 2;
constexpr std::uint8_t kPriced = 4;
constexpr std::uint8_t kHost = 8;  // `model` is a host, the first four counts are bytes in and out

std::uint32_t narrow(std::int64_t count) noexcept
{
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(count, 0, kMost));
}

std::uint32_t low_half(std::int64_t count) noexcept
{
    return static_cast<std::uint32_t>(count);
}

std::uint32_t high_half(std::int64_t count) noexcept
{
    return static_cast<std::uint32_t>(count >> 32);
}

std::int64_t whole(std::uint32_t low, std::uint32_t high) noexcept
{
    return static_cast<std::int64_t>(std::uint64_t{high} << 32U | low);
}

}  // namespace

void put(RawSlot& raw, const ReservationRecord& record) noexcept
{
    raw.flags = (record.stream ? kStream : 0) | (record.host.empty() ? 0 : kHost);
    raw.request = record.request;
    raw.project = static_cast<std::int64_t>(record.project);
    raw.token = static_cast<std::int64_t>(record.token);
    raw.reserved_cost = record.cost.count;
    raw.reserved_tokens = record.tokens;
    raw.route.set(record.route);
    raw.model.set(record.host.empty() ? record.model : record.host);
    raw.backend.set(record.backend);
}

void put(RawSlot& raw, std::span<const UsageRow> rows) noexcept
{
    TokenCounts sum;
    core::NanoUsd cost;
    std::int64_t bytes_in = 0;
    std::int64_t bytes_out = 0;
    std::uint8_t flags = (raw.flags & (kStream | kHost)) | kPriced;
    for (const auto& row : rows) {
        sum.prompt += row.tokens.prompt;
        sum.cached += row.tokens.cached;
        sum.cache_write += row.tokens.cache_write;
        sum.completion += row.tokens.completion;
        sum.reasoning += row.tokens.reasoning;
        sum.audio_input += row.tokens.audio_input;
        sum.audio_output += row.tokens.audio_output;
        cost += row.cost;
        bytes_in += row.bytes_in;
        bytes_out += row.bytes_out;
        flags |= row.estimated ? kEstimated : 0;
        flags &= row.priced ? 0xff : static_cast<std::uint8_t>(~kPriced);
    }
    raw.counts = {narrow(sum.prompt),      narrow(sum.cached),    narrow(sum.cache_write),
                  narrow(sum.completion),  narrow(sum.reasoning), narrow(sum.audio_input),
                  narrow(sum.audio_output)};
    if ((flags & kHost) != 0) {
        raw.counts = {low_half(bytes_in), high_half(bytes_in), low_half(bytes_out),
                      high_half(bytes_out)};
    }
    raw.cost = cost.count;
    raw.flags = flags;
    raw.attempts = static_cast<std::uint8_t>(std::min<std::size_t>(rows.size(), 255));
    if (!rows.empty()) {
        raw.status = rows.back().status;
        raw.outcome.set(rows.back().outcome);
        raw.backend.set(rows.back().backend);
    }
}

ReservationJournal::Found read(const RawSlot& raw)
{
    ReservationJournal::Found found;
    found.settled = raw.state == kSettled;
    auto& record = found.record;
    record.request = raw.request;
    record.project = static_cast<core::ProjectId>(raw.project);
    record.token = static_cast<core::TokenId>(raw.token);
    record.cost = {raw.reserved_cost};
    record.tokens = raw.reserved_tokens;
    record.route = raw.route.text();
    const bool tunnelled = (raw.flags & kHost) != 0;
    (tunnelled ? record.host : record.model) = raw.model.text();
    record.backend = raw.backend.text();
    record.stream = (raw.flags & kStream) != 0;

    auto& row = found.row;
    row.request = record.request;
    row.project = record.project;
    row.token = record.token;
    row.route = record.route;
    row.requested_model = record.model;
    row.host = record.host;
    row.backend = record.backend;
    row.stream = record.stream;
    row.duration = core::Duration(-1);
    if (found.settled && tunnelled) {
        row.bytes_in = whole(raw.counts[0], raw.counts[1]);
        row.bytes_out = whole(raw.counts[2], raw.counts[3]);
    } else if (found.settled) {
        row.tokens = {raw.counts[0], raw.counts[1], raw.counts[2], raw.counts[3],
                      raw.counts[4], raw.counts[5], raw.counts[6]};
    }
    if (found.settled) {
        row.cost = {raw.cost};
        row.estimated = (raw.flags & kEstimated) != 0;
        row.priced = (raw.flags & kPriced) != 0;
        row.status = raw.status;
        row.outcome = raw.outcome.text();
        found.attempts = raw.attempts;
    } else {
        row.tokens.prompt = record.tokens;
        row.cost = record.cost;
        row.estimated = true;
        row.outcome = kIndeterminate;
    }
    return found;
}

}  // namespace llmproxy::storage
