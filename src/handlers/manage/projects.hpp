#pragma once

#include "call.hpp"

#include <string>

namespace llmproxy::handlers::manage {

/// The project that a path names. Fails with Errc::not_found.
core::Task<core::Result<storage::ProjectRow>> find_project(ManageParts& parts, std::string id);
/// The token that a path names. Fails with Errc::not_found.
core::Task<core::Result<storage::TokenRow>> find_token(ManageParts& parts, std::string id);

/// A failure of a change, told by the fields that callers know.
[[nodiscard]] core::Failure change_failure(core::Failure failure);

/// Tells the rest of the program that what it knows of a subject is not so any more.
/// \param usable  whether its tokens are still accepted.
void announce(const ManageParts& parts, storage::Subject subject, bool usable = true);

}  // namespace llmproxy::handlers::manage
