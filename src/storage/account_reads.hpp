#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/ledger.hpp"
#include "llmproxy/storage/rows.hpp"
#include "sqlite.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy::storage {

/// The look-ups and lists that Store declares, on any connection.

[[nodiscard]] core::Result<std::optional<ProjectRow>> find_project(Database& database,
                                                                   core::ProjectId id);
[[nodiscard]] core::Result<std::optional<ProjectRow>> find_project_named(Database& database,
                                                                         const std::string& name);
[[nodiscard]] core::Result<Page<ProjectRow>> list_projects(Database& database,
                                                           const PageRequest& page);
[[nodiscard]] core::Result<std::optional<TokenRow>> find_token(Database& database,
                                                               core::TokenId id);
[[nodiscard]] core::Result<std::optional<TokenAccess>> find_access(Database& database,
                                                                   const TokenHash& hash);
[[nodiscard]] core::Result<Page<TokenRow>>
list_tokens(Database& database, std::optional<core::ProjectId> project, const PageRequest& page);
[[nodiscard]] core::Result<std::vector<LimitRow>> list_limits(Database& database, Subject subject);
[[nodiscard]] core::Result<std::vector<BudgetRow>> list_budgets(Database& database,
                                                                Subject subject);
[[nodiscard]] core::Result<std::optional<ProviderKeyRow>> find_provider_key(Database& database,
                                                                            std::int64_t id);
[[nodiscard]] core::Result<Page<ProviderKeyRow>>
list_provider_keys(Database& database, std::optional<core::ProjectId> project,
                   const PageRequest& page);
[[nodiscard]] core::Result<std::optional<ResourceRow>> find_resource(Database& database,
                                                                     core::ProjectId project,
                                                                     const std::string& kind,
                                                                     const std::string& id);
[[nodiscard]] core::Result<Page<ResourceRow>> list_resources(Database& database,
                                                             core::ProjectId project,
                                                             const std::string& kind,
                                                             const PageRequest& page);
[[nodiscard]] core::Result<Page<AuditRow>> list_audit(Database& database, const AuditFilter& filter,
                                                      const PageRequest& page);

}  // namespace llmproxy::storage
