#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/secret.hpp"
#include "llmproxy/storage/rows.hpp"

#include <string>
#include <vector>

namespace llmproxy::accounts {

/// Seals the provider keys of projects with a master key: AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits.
///
/// What identifies a row - its project, backend and name - is authenticated with it: a sealed key that is copied to
/// another row does not open. Each row names the master key that sealed it.
/// Thread safety: immutable once made, so every member may be called concurrently.
class KeyVault {
public:
    /// \param current  seals, and opens; 32 bytes (core::decode_key).
    /// \param older    only open, while rows are sealed anew.
    /// Fails with Errc::bad_request when a key has another length.
    [[nodiscard]] static core::Result<KeyVault> make(core::Secret current,
                                                     std::vector<core::Secret> older = {});

    /// Puts a sealed `key` into the row, with the name of the master key and a hint; its project, backend and name must
    /// be set, and be set no other way afterwards.
    [[nodiscard]] core::Result<void> seal(storage::ProviderKeyRow& row,
                                          const core::Secret& key) const;

    /// The key of a row. Fails with Errc::internal: sealed with a master key that is not here, or not sealed for
    /// this row, or damaged.
    [[nodiscard]] core::Result<core::Secret> open(const storage::ProviderKeyRow& row) const;

    /// Seals a row anew with the current master key, whichever sealed it before. Fails like `open`.
    [[nodiscard]] core::Result<void> reseal(storage::ProviderKeyRow& row) const;

    /// Whether a row was sealed with the current master key.
    [[nodiscard]] bool is_current(const storage::ProviderKeyRow& row) const noexcept;

    /// The name of a master key: tells which it is, and nothing about it.
    [[nodiscard]] static std::string name_of(const core::Secret& master_key);

private:
    struct Master {
        core::Secret key;
        std::string name;
    };
    explicit KeyVault(std::vector<Master> masters) noexcept : masters_(std::move(masters)) {}

    std::vector<Master> masters_;  // the current one first
};

}  // namespace llmproxy::accounts
