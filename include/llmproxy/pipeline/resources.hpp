#pragma once

#include "llmproxy/core/task.hpp"

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace llmproxy::pipeline {

/// Who holds a resource: the backend, and the key whose account it is in; and which project made it.
struct ResourceHome {
    std::string backend;       ///< its name
    std::uint64_t key = 0;     ///< upstream::Backend::key_id
    std::int64_t project = 0;  ///< whose it is; 0: of the tokens that the configuration names

    friend bool operator==(const ResourceHome&, const ResourceHome&) = default;
};

/// Where files, batches, stored responses and the like are, by their ids.
/// Thread safety: every member may be called concurrently.
class Resources {
public:
    virtual ~Resources() = default;
    /// Where it is; nothing if that is not known. May wait, for a store.
    virtual core::Task<std::optional<ResourceHome>> find(std::string id) = 0;
    /// It is there now, whatever was known of it. Does not wait.
    virtual void learn(std::string id, ResourceHome home) = 0;
    /// It was deleted. Does not wait.
    virtual void forget(std::string_view id) = 0;
    /// Whether nothing is known at all, so that looking for ids is no use.
    [[nodiscard]] virtual bool empty() const noexcept = 0;
};

/// Remembers them in memory, so many at most; those that were asked for or learnt longest ago go first.
class RecentResources final : public Resources {
public:
    explicit RecentResources(std::size_t limit) : limit_(limit) {}

    core::Task<std::optional<ResourceHome>> find(std::string id) override;
    void learn(std::string id, ResourceHome home) override;
    void forget(std::string_view id) override;
    [[nodiscard]] bool empty() const noexcept override;

    void set_limit(std::size_t limit);
    [[nodiscard]] std::size_t size() const;

private:
    [[nodiscard]] std::optional<ResourceHome> look_up(std::string_view id);
    struct Known {
        std::string id;
        ResourceHome home;
    };
    void shrink();

    mutable std::mutex mutex_;
    std::size_t limit_;
    std::list<Known> known_;  // the latest in front
    std::unordered_map<std::string_view, std::list<Known>::iterator> by_id_;
};

}  // namespace llmproxy::pipeline
