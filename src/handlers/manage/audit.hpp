#pragma once

#include "call.hpp"

#include <string_view>

namespace llmproxy::handlers::manage {

/// A row of the audit log about what `call` changes.
/// \param target  the thing's number or name; empty for something new.
/// \param before  null: it was not there. No secrets, here and in `after`.
[[nodiscard]] storage::AuditRow audit_row(const Call& call, std::string_view action,
                                          std::string_view target_kind, std::string target,
                                          const Json& before, const Json& after);

/// Writes down what is no change of a row of the store, after it was done. Without a store, or if
/// that fails, the diagnostics log has it.
core::Task<void> note_change(ManageParts& parts, storage::AuditRow row);

}  // namespace llmproxy::handlers::manage
