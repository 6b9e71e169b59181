#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/usage.hpp"
#include "sqlite.hpp"
#include "usage_batch.hpp"
#include "writer.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace llmproxy::storage {

/// Makes hourly sums of usage rows and daily sums of those, and deletes what is too old. Reads on a
/// connection of its own, writes in small parts between the writer's other work.
///
/// Thread safety: one thread at a time. Lifetime: the writer outlives it.
class Upkeep {
public:
    struct Options {
        core::Duration retention{0};         ///< of rows; zero: for ever
        core::Duration rollup_retention{0};  ///< of hourly sums; zero: for ever
        std::shared_ptr<const core::Clock> clock;
    };

    Upkeep(Options options, Writer& writer) : options_(std::move(options)), writer_(writer) {}

    /// Does all that is due. What it cannot do now stays due.
    core::Result<void> run(Database& reader);

private:
    struct Sums {
        std::int64_t generation = 0;
        std::vector<UsageGroup> groups;
    };
    using Change = std::function<core::Result<void>(WriteContext&)>;

    core::Result<void> write(Change change);
    core::Result<void> make_sums(Database& reader, SumUnit unit, std::int64_t now);
    core::Result<void> make_sums_of(Database& reader, SumUnit unit, std::int64_t start);
    core::Result<void> write_sums(SumUnit unit, std::int64_t start, const Sums& sums);
    core::Result<void> delete_rows(Database& reader, std::int64_t now);
    core::Result<void> delete_hours(Database& reader, std::int64_t now);
    core::Result<void> delete_in_parts(Database& reader, const char* statement, std::int64_t value);

    const Options options_;
    Writer& writer_;
};

}  // namespace llmproxy::storage
