#pragma once

#include "llmproxy/telemetry/access_record.hpp"
#include "series_store.hpp"
#include "series_table.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace llmproxy::telemetry {

/// The names that become label values: the first `most` that were vouched for, since the name of a model alone is whatever
/// a client wrote.
/// Thread safety: every member may be called concurrently; looking a name up takes no lock.
class LabelNames {
public:
    explicit LabelNames(std::size_t most);

    /// \param most  lowering it takes no name back.
    void limit(std::size_t most) noexcept { most_.store(most, std::memory_order_relaxed); }
    /// The label of `name`: itself if it is known, else `other`; empty stays empty. Valid as long as this object.
    /// \param vouched  it may become known: an upstream answered for the model.
    [[nodiscard]] std::string_view label(std::string_view name, bool vouched);

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view name) const noexcept { return text_hash(name); }
    };
    using Names = std::unordered_set<std::string, Hash, std::equal_to<>>;

    std::atomic<std::size_t> most_;
    std::atomic<const Names*> current_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<const Names>> all_;  // readers may still look at earlier ones
};

/// The metrics of OpenTelemetry's semantic conventions for generative AI.
/// Thread safety: every member may be called concurrently.
class GenAiMetrics {
public:
    explicit GenAiMetrics(SeriesStore& store) : store_(store) {}

    void limit_models(std::size_t most) noexcept { models_.limit(most); }
    /// A finished request; does nothing when it was none to a model.
    void record(const AccessRecord& record);

private:
    struct Series {
        SeriesStore::Index input;
        SeriesStore::Index output;
        SeriesStore::Index duration;
        SeriesStore::Index first_token;
        SeriesStore::Index output_token;
    };

    SeriesStore& store_;
    LabelNames models_{100};
    SeriesTable<Series, 1024> series_;
};

}  // namespace llmproxy::telemetry
