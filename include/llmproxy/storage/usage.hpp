#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/money.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::storage {

/// Tokens of one attempt. `cached`, `cache_write` and `audio_input` are parts of `prompt`,
/// whichever way the provider counts; `reasoning` and `audio_output` are parts of `completion`.
struct TokenCounts {
    std::int64_t prompt = 0;
    std::int64_t cached = 0;
    std::int64_t cache_write = 0;
    std::int64_t completion = 0;
    std::int64_t reasoning = 0;
    std::int64_t audio_input = 0;
    std::int64_t audio_output = 0;

    /// What budgets and limits count.
    [[nodiscard]] constexpr std::int64_t total() const noexcept { return prompt + completion; }
    friend constexpr bool operator==(const TokenCounts&, const TokenCounts&) noexcept = default;
};

/// The outcome of a row made of a reservation whose end nobody saw: its cost is what was reserved.
inline constexpr std::string_view kIndeterminate = "indeterminate";

/// One attempt that may have cost something. (request, attempt) is its identity; rows are never
/// changed.
struct UsageRow {
    /// Made here (never the client's) when the request was admitted. Its time is the row's time: it
    /// decides the budget period and the hour in which the row counts, so every attempt of a
    /// request carries the same.
    core::Uuid request;
    std::uint32_t attempt = 1;
    std::string request_id;  ///< x-request-id when it is not `request`, else empty

    core::ProjectId project = core::ProjectId::none;  ///< none: no account, no ledger
    core::TokenId token = core::TokenId::none;
    std::string route;      ///< a word of a closed set: "chat_completions", "connect"
    std::string backend;    ///< configured name; empty for tunnels
    std::uint32_t key = 0;  ///< index among the backend's keys
    std::string requested_model;
    std::string served_model;  ///< as the upstream named it
    std::string host;          ///< of tunnels and forwarded requests, with the port

    TokenCounts tokens;
    bool estimated = false;  ///< tokens (and so the cost) are an estimate of ours
    core::NanoUsd cost;
    bool priced = true;  ///< false: no price was known, `cost` says nothing

    std::uint16_t status = 0;  ///< of the upstream's answer; 0: none came
    std::string outcome;       ///< "ok", core::ErrorInfo::code, or `kIndeterminate`
    std::string finish_reason;
    bool stream = false;
    core::Duration first_byte{-1};  ///< negative: there was none; kept in microseconds
    core::Duration duration{0};     ///< kept in microseconds
    std::int64_t bytes_in = 0;      ///< from the client
    std::int64_t bytes_out = 0;     ///< to the client

    [[nodiscard]] core::SystemTime time() const noexcept { return core::time_of(request); }
    friend bool operator==(const UsageRow&, const UsageRow&) = default;
};

/// Which usage. What is unset matches everything.
struct UsageFilter {
    core::SystemTime from;  ///< inclusive
    core::SystemTime to = core::SystemTime::max();
    std::optional<core::ProjectId> project;
    std::optional<core::TokenId> token;
    std::optional<std::string> route;
    std::optional<std::string> backend;
    std::optional<std::string> requested_model;
    std::optional<std::string> served_model;
    std::optional<std::string> outcome;     ///< for rows only: sums do not keep it
    std::optional<std::string> request_id;  ///< for rows only; of the client, or `request` as text
};

/// What sums can be told apart by.
enum class UsageDimension : std::uint8_t {
    project,
    token,
    route,
    backend,
    requested_model,
    served_model,
    hour,
    day,
};

/// Sums of usage rows.
struct UsageTotals {
    std::int64_t attempts = 0;
    std::int64_t failed = 0;     ///< of these, those whose outcome is not "ok"
    std::int64_t estimated = 0;  ///< of these, those with estimated figures
    TokenCounts tokens;
    core::NanoUsd cost;
    core::Duration duration{0};
    std::int64_t bytes_in = 0;
    std::int64_t bytes_out = 0;

    friend bool operator==(const UsageTotals&, const UsageTotals&) = default;
};

/// The sums of one combination of what was grouped by; the rest of the keys is empty.
struct UsageGroup {
    core::ProjectId project = core::ProjectId::none;
    core::TokenId token = core::TokenId::none;
    std::string route;
    std::string backend;
    std::string requested_model;
    std::string served_model;
    core::SystemTime time;  ///< start of the hour or day
    UsageTotals totals;
};

/// A question for sums. Exact while the usage rows are kept (`store.retention`); for older times
/// `from` and `to` count by whole hours, past `store.rollup_retention` by whole days.
struct UsageQuery {
    UsageFilter filter;
    std::vector<UsageDimension> group_by;  ///< of hour and day only one; empty: one group
};

}  // namespace llmproxy::storage
