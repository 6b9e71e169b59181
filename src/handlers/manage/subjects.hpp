#pragma once

#include "call.hpp"

#include <array>
#include <string_view>

namespace llmproxy::handlers::manage {

/// A project or token as far as its limits and budgets are concerned.
struct SubjectAt {
    storage::Subject subject;
    storage::Version version = 0;
};

/// What a path `/manage/projects/{project}/...` or `/manage/tokens/{token}/...` is about.
/// Fails with Errc::not_found.
core::Task<core::Result<SubjectAt>> find_subject(ManageParts& parts, const Call& call);

/// `project` or `token`, as the audit log names it.
[[nodiscard]] std::string_view kind_of(storage::Subject subject) noexcept;

inline constexpr std::array<std::string_view, 4> kPeriodWords{"day", "week", "month", "total"};
[[nodiscard]] std::string_view word_of(storage::PeriodKind kind);

}  // namespace llmproxy::handlers::manage
