#pragma once

#include "call.hpp"
#include "shape.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::handlers::manage {

/// \name Ids as callers see them: `proj_7`, `tok_12`, `key_3`; tokens of the configuration, which only usage knows, have
/// numbers below zero.
/// @{
[[nodiscard]] std::string to_text(core::ProjectId id);
[[nodiscard]] std::string to_text(core::TokenId id);
[[nodiscard]] std::string key_text(std::int64_t id);
[[nodiscard]] std::optional<core::ProjectId> parse_project(std::string_view text) noexcept;
[[nodiscard]] std::optional<core::TokenId> parse_token(std::string_view text) noexcept;
[[nodiscard]] std::optional<std::int64_t> parse_key(std::string_view text) noexcept;
/// @}

/// \name Fields that hold such ids
/// @{
[[nodiscard]] Property project_field(std::string_view name, std::string description);
[[nodiscard]] Property token_field(std::string_view name, std::string description);
/// @}

/// The audit log holds plain numbers: what is shown for one, and what is looked for.
[[nodiscard]] std::string shown_target(std::string_view kind, const std::string& stored);
[[nodiscard]] std::string stored_target(const std::string& shown);

/// A parameter of Kind::time, if given.
[[nodiscard]] std::optional<core::SystemTime> time_parameter(const Call& call,
                                                             std::string_view name);

/// What is null when there is none.
[[nodiscard]] Json time_or_null(const std::optional<core::SystemTime>& time);

}  // namespace llmproxy::handlers::manage
