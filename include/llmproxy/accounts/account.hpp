#pragma once

#include "llmproxy/accounts/standing.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/host.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/sha256.hpp"
#include "llmproxy/storage/rows.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::accounts {

/// The project of the tokens that the configuration names, and of everybody under `auth.mode: open`. It is not in the
/// store: its id is none, and it has neither limits nor budget.
inline constexpr std::string_view kStaticProject = "static";

/// The id that usage of a token of the configuration has: below zero, made of its name, so that it stays the same.
[[nodiscard]] core::TokenId static_token_id(std::string_view name) noexcept;

/// A token that the configuration names.
struct StaticAccount {
    std::string name;
    core::Sha256 hash{};  ///< of its text
    /// Where it may go by the forward proxy; null: wherever `forward.allow` says.
    std::shared_ptr<const std::vector<core::HostPattern>> hosts;
};

/// Who a token stands for, as of when it was loaded.
/// Thread safety: immutable but for the standings, which are safe. Shared by pointer to const.
class Account {
public:
    /// Of the configuration.
    explicit Account(const StaticAccount& from);
    /// Of everybody, under `auth.mode: open`.
    [[nodiscard]] static std::shared_ptr<const Account> anonymous();
    /// Of the store.
    Account(const storage::TokenAccess& from, Generation loaded,
            std::shared_ptr<Standing> token_standing, std::shared_ptr<Standing> project_standing);

    [[nodiscard]] core::TokenId token() const noexcept { return token_; }
    [[nodiscard]] core::ProjectId project() const noexcept { return project_; }
    /// The token's name, for logs.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& project_name() const noexcept { return project_name_; }
    /// Whether it is in the store, and not only in the configuration.
    [[nodiscard]] bool stored() const noexcept { return token_standing_ != nullptr; }

    [[nodiscard]] bool expired(core::SystemTime now) const noexcept
    {
        return expires_ && now >= *expires_;
    }
    [[nodiscard]] bool revoked() const noexcept;

    /// Whether token and project grant a model, by the name that the client uses.
    /// Fails with Errc::model_not_allowed.
    [[nodiscard]] core::Result<void> check_model(std::string_view model) const;
    /// Whether they grant a route, by the word that logs have for it. Where no routes are named, it is the inference
    /// routes, models, and the forward proxy; everything where the configuration names the token.
    /// Fails with Errc::route_not_allowed.
    [[nodiscard]] core::Result<void> check_route(std::string_view route) const;
    /// Where the account may go by the forward proxy, what token and project grant taken together; null: wherever
    /// `forward.allow` says.
    [[nodiscard]] const std::shared_ptr<const std::vector<core::HostPattern>>&
    hosts() const noexcept
    {
        return hosts_;
    }

    /// Null for an account that is not in the store.
    [[nodiscard]] Standing* token_standing() const noexcept { return token_standing_.get(); }
    [[nodiscard]] Standing* project_standing() const noexcept { return project_standing_.get(); }

private:
    core::TokenId token_ = core::TokenId::none;
    core::ProjectId project_ = core::ProjectId::none;
    std::string name_;
    std::string project_name_;
    std::optional<core::SystemTime> expires_;
    storage::Grants token_grants_;
    storage::Grants project_grants_;
    std::shared_ptr<const std::vector<core::HostPattern>> hosts_;
    Generation loaded_ = 0;
    std::shared_ptr<Standing> token_standing_;
    std::shared_ptr<Standing> project_standing_;
};

using AccountPtr = std::shared_ptr<const Account>;

}  // namespace llmproxy::accounts
