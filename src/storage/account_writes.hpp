#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/rows.hpp"
#include "writer.hpp"

#include <string>
#include <vector>

namespace llmproxy::storage {

/// The changes that Store declares, each inside the writer's transaction, with its audit row.
/// They fail as Store says; what they wrote before is then taken back by the caller.

[[nodiscard]] core::Result<ProjectRow> write_project(WriteContext& context, ProjectRow row,
                                                     AuditRow audit);
[[nodiscard]] core::Result<bool> delete_project(WriteContext& context, core::ProjectId id,
                                                AuditRow audit);
[[nodiscard]] core::Result<TokenRow> write_token(WriteContext& context, TokenRow row,
                                                 AuditRow audit);
[[nodiscard]] core::Result<bool> delete_token(WriteContext& context, core::TokenId id,
                                              AuditRow audit);
[[nodiscard]] core::Result<ProviderKeyRow> write_provider_key(WriteContext& context,
                                                              ProviderKeyRow row, AuditRow audit);
[[nodiscard]] core::Result<void>
rewrite_provider_keys(WriteContext& context, std::vector<ProviderKeyRow> rows, AuditRow audit);
[[nodiscard]] core::Result<bool> delete_provider_key(WriteContext& context, std::int64_t id,
                                                     AuditRow audit);
[[nodiscard]] core::Result<Version> write_limits(WriteContext& context, Subject subject,
                                                 Version version, const std::vector<LimitRow>& rows,
                                                 AuditRow audit);
[[nodiscard]] core::Result<Version> write_budgets(WriteContext& context, Subject subject,
                                                  Version version,
                                                  const std::vector<BudgetRow>& rows,
                                                  AuditRow audit);
[[nodiscard]] core::Result<void> write_resource(WriteContext& context, const ResourceRow& row);
[[nodiscard]] core::Result<bool> delete_resource(WriteContext& context, core::ProjectId project,
                                                 const std::string& kind, const std::string& id);
[[nodiscard]] core::Result<void> write_audit(WriteContext& context, AuditRow row);

}  // namespace llmproxy::storage
