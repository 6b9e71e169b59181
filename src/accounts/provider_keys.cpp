#include "llmproxy/accounts/provider_keys.hpp"

#include <utility>

namespace llmproxy::accounts {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using core::Result;
using core::Task;

constexpr std::uint32_t kPage = 500;

Failure no_master_key(Errc errc)
{
    return {errc, Origin::self, "store.encryption_key is not set"};
}

}  // namespace

ProviderKeys::ProviderKeys(std::shared_ptr<storage::Store> store,
                           std::shared_ptr<const KeyVault> vault)
    : store_(std::move(store)), vault_(std::move(vault))
{
}

std::optional<ProviderKeys::KeysPtr> ProviderKeys::recall(core::ProjectId project,
                                                          std::string_view backend) const
{
    if (!store_ || project == core::ProjectId::none) {
        return KeysPtr();
    }
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(project);
    if (found == known_.end()) {
        return std::nullopt;
    }
    const auto keys = found->second.find(backend);
    return keys == found->second.end() ? KeysPtr() : keys->second;
}

Task<Result<ProviderKeys::KeysPtr>> ProviderKeys::of(core::ProjectId project, std::string backend)
{
    if (auto known = recall(project, backend)) {
        co_return std::move(*known);
    }
    const auto seen = generation_.load();
    auto read_now = co_await read(project);
    if (!read_now) {
        co_return read_now.error();
    }
    const auto found = read_now->find(backend);
    auto keys = found == read_now->end() ? KeysPtr() : found->second;
    keep(project, std::move(*read_now), seen);
    co_return std::move(keys);
}

void ProviderKeys::keep(core::ProjectId project, ByBackend keys, std::uint64_t seen)
{
    const std::lock_guard lock(mutex_);
    if (generation_ != seen) {
        return;
    }
    if (known_.size() >= kProjectsInMemory) {
        known_.clear();
    }
    known_.insert_or_assign(project, std::move(keys));
}

Task<Result<ProviderKeys::ByBackend>> ProviderKeys::read(core::ProjectId project) const
{
    std::map<std::string, Keys> opened;
    storage::PageRequest request(kPage);
    for (;;) {
        auto page = co_await store_->provider_keys(project, request);
        if (!page) {
            co_return page.error();
        }
        for (const auto& row : page->rows) {
            if (!vault_) {
                co_return no_master_key(Errc::internal);
            }
            auto key = vault_->open(row);
            if (!key) {
                co_return key.error();
            }
            opened[row.backend].push_back(std::move(*key));
        }
        if (page->next.empty()) {
            break;
        }
        request.cursor = std::move(page->next);
    }
    ByBackend keys;
    for (auto& [backend, list] : opened) {
        keys.emplace(backend, std::make_shared<const Keys>(std::move(list)));
    }
    co_return std::move(keys);
}

Task<Result<storage::ProviderKeyRow>> ProviderKeys::put(storage::ProviderKeyRow row,
                                                        core::Secret key, storage::AuditRow audit)
{
    if (!vault_) {
        co_return no_master_key(Errc::bad_request)
            .say("Provider keys cannot be stored: store.encryption_key is not set.");
    }
    if (auto sealed = vault_->seal(row, key); !sealed) {
        co_return sealed.error();
    }
    const auto project = row.project;
    auto stored = co_await store_->put_provider_key(std::move(row), std::move(audit));
    changed(project);
    co_return std::move(stored);
}

Task<Result<std::size_t>> ProviderKeys::reseal_all(storage::AuditRow audit)
{
    if (!vault_) {
        co_return no_master_key(Errc::bad_request);
    }
    std::size_t count = 0;
    storage::PageRequest request(kPage);
    for (;;) {
        auto page = co_await store_->provider_keys(std::nullopt, request);
        if (!page) {
            co_return page.error();
        }
        std::vector<storage::ProviderKeyRow> sealed;
        for (auto& row : page->rows) {
            if (vault_->is_current(row)) {
                continue;
            }
            if (auto done = vault_->reseal(row); !done) {
                co_return done.error();
            }
            sealed.push_back(std::move(row));
        }
        if (!sealed.empty()) {
            const auto rows = sealed.size();
            auto written = co_await store_->replace_provider_keys(std::move(sealed), audit);
            if (!written) {
                co_return written.error();
            }
            count += rows;
        }
        if (page->next.empty()) {
            co_return count;
        }
        request.cursor = std::move(page->next);
    }
}

void ProviderKeys::changed(core::ProjectId project)
{
    const std::lock_guard lock(mutex_);
    ++generation_;
    known_.erase(project);
}

}  // namespace llmproxy::accounts
