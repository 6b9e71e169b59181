#pragma once

#include "llmproxy/accounts/key_vault.hpp"
#include "llmproxy/storage/settings.hpp"
#include "llmproxy/storage/store.hpp"

#include <memory>

namespace llmproxy::app {

/// The store of the configuration, if it has one.
struct StoreParts {
    std::shared_ptr<storage::Store> store;            ///< null: none
    std::shared_ptr<const accounts::KeyVault> vault;  ///< null: no encryption key
};

/// Opens what `settings` says; nothing where there is no path. Blocks. Fails like
/// storage::open_sqlite.
[[nodiscard]] core::Result<StoreParts> open_store(const storage::Settings& settings);

}  // namespace llmproxy::app
