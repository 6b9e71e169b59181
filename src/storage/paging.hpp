#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/storage/rows.hpp"
#include "sqlite.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace llmproxy::storage {

inline constexpr std::uint32_t kMostRows = 1000;

[[nodiscard]] inline std::uint32_t rows_of(const PageRequest& page) noexcept
{
    return std::clamp<std::uint32_t>(page.limit, 1, kMostRows);
}

[[nodiscard]] inline core::Failure bad_cursor()
{
    core::Failure failure(core::Errc::bad_request, core::Origin::client, "not a cursor");
    failure.at("cursor");
    return failure;
}

/// The number that a page begins behind, in the direction of the page.
[[nodiscard]] inline core::Result<std::int64_t> number_cursor(const PageRequest& page)
{
    if (page.cursor.empty()) {
        return page.newest_first ? std::numeric_limits<std::int64_t>::max()
                                 : std::numeric_limits<std::int64_t>::min();
    }
    const auto number = core::parse_number<std::int64_t>(page.cursor);
    if (!number) {
        return bad_cursor();
    }
    return *number;
}

/// Reads a page from a query that was given `rows_of(page) + 1` as its limit.
/// \param read_one   (Query&, Row&): the columns of a row
/// \param cursor_of  (const Row&): the cursor behind that row
template <typename Row, typename ReadOne, typename CursorOf>
[[nodiscard]] core::Result<Page<Row>> read_page(Query& query, const PageRequest& page,
                                                ReadOne read_one, CursorOf cursor_of)
{
    Page<Row> result;
    while (query.next()) {
        if (result.rows.size() == rows_of(page)) {
            result.next = cursor_of(result.rows.back());
            break;
        }
        read_one(query, result.rows.emplace_back());
    }
    return query.unless_failed(std::move(result));
}

}  // namespace llmproxy::storage
