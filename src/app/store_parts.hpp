#pragma once

#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/accounts/key_vault.hpp"
#include "llmproxy/accounts/provider_keys.hpp"
#include "llmproxy/storage/settings.hpp"
#include "llmproxy/storage/store.hpp"
#include "llmproxy/telemetry/metrics.hpp"

#include <memory>

namespace llmproxy::app {

/// The store of the configuration, if it has one.
struct StoreParts {
    std::shared_ptr<storage::Store> store;            ///< null: none
    std::shared_ptr<const accounts::KeyVault> vault;  ///< null: no encryption key
    std::unique_ptr<accounts::ProviderKeys> keys;     ///< null: no store
};

/// Opens what `settings` says; nothing where there is no path. Blocks. Fails like
/// storage::open_sqlite.
[[nodiscard]] core::Result<StoreParts> open_store(const storage::Settings& settings,
                                                  std::shared_ptr<const core::Clock> clock,
                                                  telemetry::Metrics& metrics);

/// Tells the metrics what the store keeps count of itself, and how far budgets are spent.
void collect_store(const storage::Store& store, telemetry::Metrics& into);
void collect_budgets(const accounts::Accounts& accounts, telemetry::Metrics& into);

/// Writes a line about spending that has reached a soft limit.
void report_soft_limit(const accounts::SoftLimitReached& reached);

/// Tells the accounts that a project or token was changed in the store, or that it may not do anything any more.
void tell_changed(accounts::Accounts& accounts, storage::Subject subject);
void tell_ended(accounts::Accounts& accounts, storage::Subject subject);

}  // namespace llmproxy::app
