#include "store_parts.hpp"

#include "llmproxy/core/secret.hpp"
#include "llmproxy/storage/sqlite_store.hpp"

namespace llmproxy::app {

core::Result<StoreParts> open_store(const storage::Settings& settings)
{
    StoreParts parts;
    if (settings.path.empty()) {
        return parts;
    }
    if (auto key = core::decode_key(settings.encryption_key.reveal())) {
        auto vault = accounts::KeyVault::make(std::move(*key));
        if (!vault) {
            return vault.error();
        }
        parts.vault = std::make_shared<const accounts::KeyVault>(std::move(*vault));
    }
    storage::SqliteOptions options;
    options.settings = settings;
    auto store = storage::open_sqlite(std::move(options));
    if (!store) {
        return store.error();
    }
    parts.store = std::move(*store);
    return parts;
}

}  // namespace llmproxy::app
