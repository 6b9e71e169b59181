#pragma once

#include <array>
#include <cstddef>

namespace llmproxy::storage {

/// Joins literals to one text at compile time, ended by a zero byte.
template <std::size_t... N>
[[nodiscard]] consteval auto join(const char (&... parts)[N])
{
    std::array<char, ((N - 1) + ...) + 1> text{};
    std::size_t at = 0;
    const auto add = [&](const char* part, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) {
            text[at++] = part[i];
        }
    };
    (add(parts, N - 1), ...);
    return text;
}

/// \name Columns of a table in the order of `visit_columns`
/// @{
inline constexpr char kProjectColumns[] =
    "version, name, models, hosts, routes, enabled, created, updated";
inline constexpr char kTokenColumns[] =
    "version, project, name, hash, prefix, models, hosts, routes, created, updated, expires, "
    "revoked";
inline constexpr char kProviderKeyColumns[] =
    "version, project, backend, name, master_key, sealed, hint, created, updated";
inline constexpr char kLimitColumns[] =
    "route, requests_per_minute, tokens_per_minute, bytes_per_minute, concurrent_requests, tunnels";
inline constexpr char kBudgetColumns[] = "period, cost, tokens, soft_percents";
inline constexpr char kAuditColumns[] =
    "time, actor, source, action, target_kind, target, before, after";
inline constexpr char kResourceColumns[] =
    "project, kind, id, token, backend, key, created, expires";
inline constexpr char kUsageColumns[] =
    "request, attempt, request_id, project, token, route, backend, key, requested_model, "
    "served_model, host, prompt, cached, cache_write, completion, reasoning, audio_input, "
    "audio_output, estimated, cost, priced, status, outcome, finish_reason, stream, first_byte, "
    "duration, bytes_in, bytes_out";
/// What sums are kept apart by.
inline constexpr char kDimensionColumns[] =
    "project, token, route, backend, requested_model, served_model";
inline constexpr char kTotalColumns[] =
    "attempts, failed, estimated, prompt, cached, cache_write, completion, reasoning, "
    "audio_input, audio_output, cost, duration, bytes_in, bytes_out";
/// The same, added up over rows of sums.
inline constexpr char kTotalSums[] =
    "sum(attempts), sum(failed), sum(estimated), sum(prompt), sum(cached), sum(cache_write), "
    "sum(completion), sum(reasoning), sum(audio_input), sum(audio_output), sum(cost), "
    "sum(duration), sum(bytes_in), sum(bytes_out)";
/// The same for one usage row.
inline constexpr char kRowTotals[] =
    "1 AS attempts, outcome <> 'ok' AS failed, estimated, prompt, cached, cache_write, "
    "completion, reasoning, audio_input, audio_output, cost, ifnull(duration, 0) AS duration, "
    "bytes_in, bytes_out";
/// @}

}  // namespace llmproxy::storage
