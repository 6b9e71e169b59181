#include "llmproxy/accounts/account.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace llmproxy::accounts {
namespace {

using Patterns = std::vector<core::HostPattern>;

constexpr std::array<std::string_view, 7> kUsualRoutes{
    "chat_completions", "completions", "embeddings", "responses", "models", "connect", "forward"};

/// A pattern that cannot be read covers nothing; whoever writes rows refuses such.
Patterns parse(const std::vector<std::string>& texts)
{
    Patterns patterns;
    for (const auto& text : texts) {
        if (auto pattern = core::HostPattern::parse(text)) {
            patterns.push_back(std::move(*pattern));
        }
    }
    return patterns;
}

void append_within(Patterns& out, const Patterns& inner, const Patterns& outer)
{
    std::copy_if(inner.begin(), inner.end(), std::back_inserter(out), [&](const auto& pattern) {
        return std::any_of(outer.begin(), outer.end(),
                           [&](const auto& other) { return pattern.is_within(other); });
    });
}

/// What both lists cover; an empty list covers everything. Null: everything.
std::shared_ptr<const Patterns> both(const std::vector<std::string>& token,
                                     const std::vector<std::string>& project)
{
    if (token.empty() && project.empty()) {
        return nullptr;
    }
    auto result = std::make_shared<Patterns>();
    if (token.empty() || project.empty()) {
        *result = parse(token.empty() ? project : token);
    } else {
        // Patterns are disjoint or one within the other, so this is all that they have in common.
        const auto of_token = parse(token);
        const auto of_project = parse(project);
        append_within(*result, of_token, of_project);
        append_within(*result, of_project, of_token);
    }
    return result;
}

bool grants_model(const std::vector<std::string>& patterns, std::string_view model)
{
    return patterns.empty() ||
           std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
               return core::glob_match(pattern, model);
           });
}

bool names(const std::vector<std::string>& words, std::string_view word)
{
    return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

core::TokenId static_token_id(std::string_view name) noexcept
{
    const auto digest = core::sha256(name);
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < sizeof number; ++i) {
        number = number << 8U | digest[i];
    }
    return core::TokenId{-1 - static_cast<std::int64_t>(number >> 2U)};
}

Account::Account(const StaticAccount& from)
    : token_(static_token_id(from.name)), name_(from.name), project_name_(kStaticProject),
      hosts_(from.hosts)
{
}

std::shared_ptr<const Account> Account::anonymous()
{
    auto account = std::make_shared<Account>(StaticAccount{"anonymous", {}, nullptr});
    account->token_ = core::TokenId::none;
    return account;
}

Account::Account(const storage::TokenAccess& from, Generation loaded,
                 std::shared_ptr<Standing> token_standing,
                 std::shared_ptr<Standing> project_standing)
    : token_(from.token.id), project_(from.project.id), name_(from.token.name),
      project_name_(from.project.name), expires_(from.token.expires),
      token_grants_(from.token.grants), project_grants_(from.project.grants),
      hosts_(both(from.token.grants.hosts, from.project.grants.hosts)), loaded_(loaded),
      token_standing_(std::move(token_standing)), project_standing_(std::move(project_standing))
{
}

bool Account::revoked() const noexcept
{
    return stored() &&
           (token_standing_->revoked_since(loaded_) || project_standing_->revoked_since(loaded_));
}

core::Result<void> Account::check_model(std::string_view model) const
{
    if (grants_model(token_grants_.models, model) && grants_model(project_grants_.models, model)) {
        return {};
    }
    return core::Failure(core::Errc::model_not_allowed, core::Origin::client, name_).at("model");
}

core::Result<void> Account::check_route(std::string_view route) const
{
    const auto& own = token_grants_.routes;
    const auto& projects = project_grants_.routes;
    const bool granted =
        own.empty() && projects.empty()
            ? !stored() ||
                  std::find(kUsualRoutes.begin(), kUsualRoutes.end(), route) != kUsualRoutes.end()
            : (own.empty() || names(own, route)) && (projects.empty() || names(projects, route));
    if (granted) {
        return {};
    }
    return core::Failure(core::Errc::route_not_allowed, core::Origin::client,
                         name_ + ": " + std::string(route));
}

}  // namespace llmproxy::accounts
