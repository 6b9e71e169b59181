#pragma once

#include "llmproxy/accounts/key_vault.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/secret.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/storage/store.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::accounts {

/// The keys that projects have of their own for backends: sealed in the store, opened in memory while they are in use.
///
/// Thread safety: every member may be called concurrently. Lifetime: outlives whoever awaits it.
class ProviderKeys {
public:
    /// The keys of one project for one backend, in the order of their rows.
    using Keys = std::vector<core::Secret>;
    using KeysPtr = std::shared_ptr<const Keys>;

    /// How many projects' keys are kept in memory; past that all are forgotten, and read again as they are needed.
    static constexpr std::size_t kProjectsInMemory = 10'000;

    /// \param vault  null: there is no master key; then no key can be stored, nor opened.
    ProviderKeys(std::shared_ptr<storage::Store> store, std::shared_ptr<const KeyVault> vault);

    /// What memory knows: null inside if the project has no key of its own for the backend; none: ask `of`.
    [[nodiscard]] std::optional<KeysPtr> recall(core::ProjectId project,
                                                std::string_view backend) const;
    /// The same, asking the store if need be.
    /// Fails with Errc::internal when a key does not open (the whole project's then), and with what the store fails with.
    core::Task<core::Result<KeysPtr>> of(core::ProjectId project, std::string backend);

    /// Seals a key and puts its row into the store: a new one, or another key in place of the row's.
    /// \param row  project, backend and name; id and version of the row that is changed.
    /// Fails with Errc::bad_request without a master key, and like storage::Store::put_provider_key.
    core::Task<core::Result<storage::ProviderKeyRow>>
    put(storage::ProviderKeyRow row, core::Secret key, storage::AuditRow audit);

    /// Seals every row anew that is not sealed with the current master key; tells how many. May be repeated.
    /// Fails with Errc::internal when one does not open, and Errc::precondition_failed when one changed meanwhile.
    core::Task<core::Result<std::size_t>> reseal_all(storage::AuditRow audit);

    /// A project's keys were changed or removed: to be read again. After it was committed.
    void changed(core::ProjectId project);

private:
    using ByBackend = std::map<std::string, KeysPtr, std::less<>>;
    core::Task<core::Result<ByBackend>> read(core::ProjectId project) const;
    void keep(core::ProjectId project, ByBackend keys, std::uint64_t seen);

    const std::shared_ptr<storage::Store> store_;
    const std::shared_ptr<const KeyVault> vault_;
    mutable std::mutex mutex_;
    std::atomic<std::uint64_t> generation_{0};  // counts the changes
    std::map<core::ProjectId, ByBackend> known_;
};

}  // namespace llmproxy::accounts
