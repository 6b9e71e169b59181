#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/ledger.hpp"
#include "llmproxy/storage/rows.hpp"
#include "llmproxy/storage/usage.hpp"
#include "sqlite.hpp"

#include <vector>

namespace llmproxy::storage {

/// What Store declares of usage and ledger, on any connection.

[[nodiscard]] core::Result<std::vector<LedgerRow>> read_ledger(Database& database, Subject subject,
                                                               core::SystemTime at);
[[nodiscard]] core::Result<Page<LedgerRow>> list_ledger(Database& database, Subject subject,
                                                        PeriodKind kind, const PageRequest& page);
[[nodiscard]] core::Result<Page<UsageRow>> list_usage(Database& database, const UsageFilter& filter,
                                                      const PageRequest& page);
[[nodiscard]] core::Result<Page<UsageGroup>> sum_usage(Database& database, const UsageQuery& query,
                                                       const PageRequest& page);

}  // namespace llmproxy::storage
