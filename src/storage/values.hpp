#pragma once

#include "llmproxy/storage/rows.hpp"
#include "llmproxy/storage/usage.hpp"
#include "sqlite.hpp"

#include <array>
#include <chrono>
#include <concepts>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace llmproxy::storage {

/// A list of texts as JSON; nothing if one of them is not UTF-8.
[[nodiscard]] std::optional<std::string> encode_list(const std::vector<std::string>& list);
[[nodiscard]] std::optional<std::vector<std::string>> decode_list(std::string_view json);

/// A text whose column is a BLOB. \tparam Text  `std::string` or `const std::string`
template <typename Text>
struct BlobOf {
    explicit BlobOf(Text& text) noexcept : bytes(text) {}
    Text& bytes;
};

[[nodiscard]] constexpr std::int64_t to_milliseconds(core::SystemTime time) noexcept
{
    return std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
}

[[nodiscard]] constexpr core::SystemTime from_milliseconds(std::int64_t value) noexcept
{
    return core::SystemTime(std::chrono::milliseconds(value));
}

template <std::size_t N>
[[nodiscard]] std::string_view bytes_of(const std::array<std::uint8_t, N>& bytes) noexcept
{
    return {reinterpret_cast<const char*>(bytes.data()), N};
}

inline void put_value(Query& query, const std::string& text)
{
    query.put_text(text);
}
inline void put_value(Query& query, std::string_view text)
{
    query.put_text(text);
}
template <typename Text>
void put_value(Query& query, const BlobOf<Text>& blob)
{
    query.put_blob(blob.bytes);
}
inline void put_value(Query& query, const std::vector<std::uint8_t>& bytes)
{
    query.put_blob({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}
template <std::size_t N>
void put_value(Query& query, const std::array<std::uint8_t, N>& bytes)
{
    query.put_blob(bytes_of(bytes));
}
inline void put_value(Query& query, const core::Uuid& id)
{
    query.put_blob(bytes_of(id.bytes));
}
inline void put_value(Query& query, core::NanoUsd amount)
{
    query.put(amount.count);
}
inline void put_value(Query& query, core::SystemTime time)
{
    query.put(to_milliseconds(time));
}
inline void put_value(Query& query, core::Duration duration)
{
    if (duration < core::Duration::zero()) {
        query.put_null();
    } else {
        query.put(std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
    }
}
inline void put_value(Query& query, const std::vector<std::string>& list)
{
    query.put_own_text(encode_list(list).value_or("[]"));
}
template <typename T>
requires(std::integral<T> || std::is_enum_v<T>) void put_value(Query& query, T value)
{
    query.put(static_cast<std::int64_t>(value));
}
template <typename T>
void put_value(Query& query, const std::optional<T>& value)
{
    if (value) {
        put_value(query, *value);
    } else {
        query.put_null();
    }
}

inline void get_value(Query& query, std::string& text)
{
    text = query.text();
}
inline void get_value(Query& query, BlobOf<std::string> blob)
{
    blob.bytes = query.blob();
}
inline void get_value(Query& query, std::vector<std::uint8_t>& bytes)
{
    const auto found = query.blob();
    bytes.assign(found.begin(), found.end());
}
template <std::size_t N>
void get_value(Query& query, std::array<std::uint8_t, N>& bytes)
{
    const auto found = query.blob();
    if (found.size() == N) {
        std::memcpy(bytes.data(), found.data(), N);
    } else {
        query.spoil();
    }
}
inline void get_value(Query& query, core::Uuid& id)
{
    get_value(query, id.bytes);
}
inline void get_value(Query& query, core::NanoUsd& amount)
{
    amount.count = query.integer();
}
inline void get_value(Query& query, core::SystemTime& time)
{
    time = from_milliseconds(query.integer());
}
inline void get_value(Query& query, core::Duration& duration)
{
    if (query.is_null()) {
        query.skip();
        duration = core::Duration(-1);
    } else {
        duration = std::chrono::microseconds(query.integer());
    }
}
inline void get_value(Query& query, std::vector<std::string>& list)
{
    // Never an empty list for one that cannot be read: that would allow everything.
    if (auto found = decode_list(query.text())) {
        list = std::move(*found);
    } else {
        query.spoil();
    }
}
template <typename T>
requires(std::integral<T> || std::is_enum_v<T>) void get_value(Query& query, T& value)
{
    value = static_cast<T>(query.integer());
}
template <typename T>
void get_value(Query& query, std::optional<T>& value)
{
    if (query.is_null()) {
        query.skip();
        value.reset();
    } else {
        get_value(query, value.emplace());
    }
}

/// Binds the next values. Texts must outlive the query.
template <typename... Values>
void bind_all(Query& query, const Values&... values)
{
    (put_value(query, values), ...);
}

/// Reads the next columns.
template <typename... Values>
void read_all(Query& query, Values&&... values)
{
    (get_value(query, values), ...);
}

/// \name The columns of a row after its key, in the order of every statement that names them
/// @{
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, ProjectRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.version, row.name, row.grants.models, row.grants.hosts, row.grants.routes,
          row.enabled, row.created, row.updated);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, TokenRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.version, row.project, row.name, row.hash, row.prefix, row.grants.models,
          row.grants.hosts, row.grants.routes, row.created, row.updated, row.expires, row.revoked);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, ProviderKeyRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.version, row.project, row.backend, row.name, row.master_key, BlobOf(row.sealed),
          row.hint, row.created, row.updated);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, BudgetRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.period, row.cost, row.tokens, row.soft_percents);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, LimitRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.route, row.requests_per_minute, row.tokens_per_minute, row.bytes_per_minute,
          row.concurrent_requests, row.tunnels);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, AuditRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.time, row.actor, row.source, row.action, row.target_kind, row.target, row.before,
          row.after);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, ResourceRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.project, row.kind, row.id, row.token, row.backend, row.key, row.created, row.expires);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, UsageRow>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.request, row.attempt, row.request_id, row.project, row.token, row.route, row.backend,
          row.key, row.requested_model, row.served_model, row.host, row.tokens.prompt,
          row.tokens.cached, row.tokens.cache_write, row.tokens.completion, row.tokens.reasoning,
          row.tokens.audio_input, row.tokens.audio_output, row.estimated, row.cost, row.priced,
          row.status, row.outcome, row.finish_reason, row.stream, row.first_byte, row.duration,
          row.bytes_in, row.bytes_out);
}
template <typename Row, typename Visit>
requires std::same_as<std::remove_const_t<Row>, UsageTotals>
void visit_columns(Row& row, Visit&& visit)
{
    visit(row.attempts, row.failed, row.estimated, row.tokens.prompt, row.tokens.cached,
          row.tokens.cache_write, row.tokens.completion, row.tokens.reasoning,
          row.tokens.audio_input, row.tokens.audio_output, row.cost, row.duration, row.bytes_in,
          row.bytes_out);
}
/// @}

template <typename Row>
void bind_row(Query& query, const Row& row)
{
    visit_columns(row, [&query](auto&&... values) { bind_all(query, values...); });
}

template <typename Row>
void read_row(Query& query, Row& row)
{
    visit_columns(row, [&query](auto&&... values) { read_all(query, values...); });
}

}  // namespace llmproxy::storage
