#pragma once

#include "call.hpp"
#include "shape.hpp"

#include <vector>

namespace llmproxy::handlers::manage {

/// The parameters that say which usage, for rows and for sums.
[[nodiscard]] std::vector<Property> usage_filters();
/// And those for rows only.
[[nodiscard]] std::vector<Property> row_filters();

[[nodiscard]] storage::UsageFilter filter_of(const Call& call);

/// One attempt as callers see it: the same names in JSON and in the columns of CSV, in one order.
[[nodiscard]] Json show_usage(const storage::UsageRow& row);
[[nodiscard]] const Shape& usage_shape();

/// The answer with all rows that fit, piece by piece; as CSV or NDJSON.
core::Task<core::Result<Reply>> export_usage(ManageParts& parts, Call& call);

/// One line of CSV (RFC 4180). A text that a spreadsheet would take for a formula gets a `'` in
/// front.
[[nodiscard]] std::string csv_line(const std::vector<Json>& cells);

}  // namespace llmproxy::handlers::manage
