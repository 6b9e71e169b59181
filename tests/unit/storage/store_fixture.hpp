#pragma once

#include "llmproxy/storage/sqlite_store.hpp"
#include "support/temp_dir.hpp"
#include "unit/net/loop.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace llmproxy::storage::test {

/// A store in a folder of its own, on a clock that stands still, and threads to wait for it on.
class StoreFixture : public testing::Test {
protected:
    StoreFixture()
    {
        options_.settings.path = folder_.file("store.db");
        options_.settings.retention = core::Duration::zero();
        options_.clock = clock_;
        options_.reservations = 256;
        options_.upkeep_interval = std::chrono::hours(24 * 365);  // only when asked for
    }

    /// Opens the store, anew if it is open.
    void open()
    {
        store_.reset();
        auto opened = open_sqlite(options_);
        if (!opened) {
            throw std::runtime_error(opened.error().describe());
        }
        store_ = std::move(*opened);
    }

    void close() { store_.reset(); }

    [[nodiscard]] Store& store() { return *store_; }
    [[nodiscard]] const std::string& path() const { return options_.settings.path; }

    /// Runs a task of the store to its end.
    template <typename T>
    T wait(core::Task<T> task)
    {
        return loop_.run(std::move(task));
    }

    /// The same for one that must succeed.
    template <typename T>
    T must(core::Task<core::Result<T>> task)
    {
        auto result = loop_.run(std::move(task));
        if (!result) {
            throw std::runtime_error(result.error().describe());
        }
        if constexpr (!std::is_void_v<T>) {
            return std::move(*result);
        }
    }

    [[nodiscard]] static AuditRow by(std::string actor, std::string action = "test")
    {
        AuditRow audit;
        audit.actor = std::move(actor);
        audit.action = std::move(action);
        return audit;
    }

    ProjectRow add_project(const std::string& name)
    {
        ProjectRow row;
        row.name = name;
        return must(store().put_project(std::move(row), by("tester")));
    }

    TokenRow add_token(core::ProjectId project, const std::string& name)
    {
        TokenRow row;
        row.project = project;
        row.name = name;
        row.hash.fill(static_cast<std::uint8_t>(++hashes_));
        row.hash[1] = static_cast<std::uint8_t>(hashes_ >> 8U);
        row.prefix = "llmp_abc";
        return must(store().put_token(std::move(row), by("tester")));
    }

    /// What a request of that account costs, now.
    [[nodiscard]] UsageRow usage_row(core::ProjectId project, core::TokenId token,
                                     std::int64_t cost = 1000)
    {
        UsageRow row;
        row.request = core::make_uuid7(clock_->wall());
        row.project = project;
        row.token = token;
        row.route = "chat_completions";
        row.backend = "openai";
        row.requested_model = "gpt-4o";
        row.served_model = "gpt-4o-2024-08-06";
        row.tokens.prompt = 10;
        row.tokens.completion = 5;
        row.cost = {cost};
        row.status = 200;
        row.outcome = "ok";
        row.duration = std::chrono::milliseconds(150);
        return row;
    }

    [[nodiscard]] static ReservationRecord record_of(const UsageRow& row, std::int64_t cost,
                                                     std::int64_t tokens)
    {
        ReservationRecord record;
        record.request = row.request;
        record.project = row.project;
        record.token = row.token;
        record.cost = {cost};
        record.tokens = tokens;
        record.route = row.route;
        record.model = row.requested_model;
        return record;
    }

    [[nodiscard]] Reservation reserve(const UsageRow& row, std::int64_t cost = 5000,
                                      std::int64_t tokens = 100)
    {
        return must(store().reserve(record_of(row, cost, tokens)));
    }

    [[nodiscard]] core::Result<void> settle(Reservation held, const UsageRow& row)
    {
        return wait(store().settle(Settlement(std::move(held), {row})));
    }

    [[nodiscard]] std::vector<UsageRow> all_usage()
    {
        return must(store().usage({}, PageRequest(1000))).rows;
    }

    [[nodiscard]] LedgerEntry spent(Subject subject, PeriodKind kind)
    {
        for (const auto& row : must(store().ledger(subject, clock_->wall()))) {
            if (row.key.period.kind == kind) {
                return row.spent;
            }
        }
        return {};
    }

    /// What an integrity check finds wrong, in the file as it is.
    [[nodiscard]] std::vector<std::string> problems() const
    {
        const auto report = check_sqlite(path());
        return report ? report->problems : std::vector<std::string>{report.error().describe()};
    }

    llmproxy::test::TempDir folder_;
    std::shared_ptr<core::ManualClock> clock_ = std::make_shared<core::ManualClock>();
    SqliteOptions options_;
    net::test::Loop loop_;

private:
    unsigned hashes_ = 0;
    std::shared_ptr<Store> store_;
};

}  // namespace llmproxy::storage::test
