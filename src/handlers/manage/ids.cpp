#include "ids.hpp"

#include "llmproxy/core/number.hpp"
#include "llmproxy/core/time_text.hpp"

namespace llmproxy::handlers::manage {
namespace {

constexpr std::string_view kProject = "proj_";
constexpr std::string_view kToken = "tok_";
constexpr std::string_view kKey = "key_";

std::optional<std::int64_t> number_behind(std::string_view prefix, std::string_view text) noexcept
{
    if (!text.starts_with(prefix)) {
        return std::nullopt;
    }
    text.remove_prefix(prefix.size());
    const auto digits = text.substr(text.starts_with('-') ? 1 : 0);
    const bool canonical = !digits.empty() && digits.front() >= '1' && digits.front() <= '9';
    return canonical ? core::parse_number<std::int64_t>(text) : std::nullopt;
}

std::string with(std::string_view prefix, std::int64_t number)
{
    return std::string(prefix) + std::to_string(number);
}

std::string_view check_project(std::string_view text)
{
    return parse_project(text) ? "" : "the id of a project, e.g. proj_1";
}

std::string_view check_token(std::string_view text)
{
    return parse_token(text) ? "" : "the id of a token, e.g. tok_1";
}

}  // namespace

std::string to_text(core::ProjectId id)
{
    return with(kProject, static_cast<std::int64_t>(id));
}

std::string to_text(core::TokenId id)
{
    return with(kToken, static_cast<std::int64_t>(id));
}

std::string key_text(std::int64_t id)
{
    return with(kKey, id);
}

std::optional<core::ProjectId> parse_project(std::string_view text) noexcept
{
    const auto number = number_behind(kProject, text);
    return number && *number > 0 ? std::optional(core::ProjectId(*number)) : std::nullopt;
}

std::optional<core::TokenId> parse_token(std::string_view text) noexcept
{
    const auto number = number_behind(kToken, text);
    return number ? std::optional(core::TokenId(*number)) : std::nullopt;
}

std::optional<std::int64_t> parse_key(std::string_view text) noexcept
{
    return number_behind(kKey, text);
}

Property project_field(std::string_view name, std::string description)
{
    return field(name, Kind::text, std::move(description))
        .between(6, 24)
        .like("^proj_[1-9][0-9]*$")
        .checked(check_project);
}

Property token_field(std::string_view name, std::string description)
{
    return field(name, Kind::text, std::move(description))
        .between(5, 24)
        .like("^tok_-?[1-9][0-9]*$")
        .checked(check_token);
}

std::string shown_target(std::string_view kind, const std::string& stored)
{
    const auto number = core::parse_number<std::int64_t>(stored);
    if (!number) {
        return stored;
    }
    if (kind == "project") {
        return with(kProject, *number);
    }
    if (kind == "token") {
        return with(kToken, *number);
    }
    return kind == "provider_key" ? with(kKey, *number) : stored;
}

std::string stored_target(const std::string& shown)
{
    for (const auto prefix : {kProject, kToken, kKey}) {
        if (const auto number = number_behind(prefix, shown)) {
            return std::to_string(*number);
        }
    }
    return shown;
}

std::optional<core::SystemTime> time_parameter(const Call& call, std::string_view name)
{
    const auto text = call.parameter<std::string>(name);
    return text ? core::parse_time(*text) : std::nullopt;
}

Json time_or_null(const std::optional<core::SystemTime>& time)
{
    return time ? Json(core::to_text(*time)) : Json(nullptr);
}

}  // namespace llmproxy::handlers::manage
