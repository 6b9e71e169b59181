#include "storage/sqlite.hpp"
#include "store_fixture.hpp"

#include <gmock/gmock.h>
#include <map>
#include <random>
#include <tuple>

namespace llmproxy::storage {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;
using testing::SizeIs;

/// Compares the store's sums with sums made here, of rows spread over some days.
class UsageSums : public test::StoreFixture {
protected:
    using Key = std::tuple<std::int64_t, std::int64_t, std::string, std::string, std::string,
                           std::string, std::int64_t>;

    UsageSums()
    {
        open();
        start_ = std::chrono::ceil<std::chrono::days>(clock_->wall()) + 24h;
        clock_->advance(start_ - clock_->wall());
    }

    void add(core::SystemTime time)
    {
        auto row = usage_row(static_cast<core::ProjectId>(1 + upto(2)),
                             static_cast<core::TokenId>(1 + upto(4)), upto(1000));
        row.request = core::make_uuid7(time);
        row.route = upto(3) == 0 ? "embeddings" : "chat_completions";
        row.backend = upto(1) == 0 ? "openai" : "azure";
        row.requested_model = upto(1) == 0 ? "gpt-4o" : "gpt-4o-mini";
        row.outcome = upto(5) == 0 ? "upstream_reset" : "ok";
        row.estimated = upto(7) == 0;
        row.tokens = {upto(99), upto(99), upto(99), upto(99), upto(99), upto(99), upto(99)};
        row.duration = std::chrono::microseconds(upto(9'999'999));
        row.bytes_in = upto(10'000);
        ASSERT_TRUE(settle({}, row));
        rows_.push_back(row);
    }

    std::int64_t upto(std::int64_t most)
    {
        return std::uniform_int_distribution<std::int64_t>(0, most)(random_);
    }

    void advance_to(core::SystemTime time) { clock_->advance(time - clock_->wall()); }

    static bool has(const UsageQuery& query, UsageDimension dimension)
    {
        return std::find(query.group_by.begin(), query.group_by.end(), dimension) !=
               query.group_by.end();
    }

    static bool matches(const UsageFilter& filter, const UsageRow& row)
    {
        return row.time() >= filter.from && row.time() < filter.to &&
               (!filter.project || *filter.project == row.project) &&
               (!filter.token || *filter.token == row.token) &&
               (!filter.route || *filter.route == row.route) &&
               (!filter.backend || *filter.backend == row.backend) &&
               (!filter.requested_model || *filter.requested_model == row.requested_model) &&
               (!filter.served_model || *filter.served_model == row.served_model);
    }

    std::map<Key, UsageTotals> expected(const UsageQuery& query) const
    {
        std::map<Key, UsageTotals> groups;
        for (const auto& row : rows_) {
            if (!matches(query.filter, row)) {
                continue;
            }
            const auto hour = std::chrono::floor<std::chrono::hours>(row.time());
            const auto day = std::chrono::floor<std::chrono::days>(row.time());
            const core::SystemTime none{};
            const core::SystemTime time = has(query, UsageDimension::hour)  ? hour
                                          : has(query, UsageDimension::day) ? day
                                                                            : none;
            const auto when = [&](UsageDimension dimension, const std::string& text) {
                return has(query, dimension) ? text : std::string();
            };
            const auto project = static_cast<std::int64_t>(row.project);
            const auto token = static_cast<std::int64_t>(row.token);
            auto& sum = groups[Key(has(query, UsageDimension::project) ? project : 0,
                                   has(query, UsageDimension::token) ? token : 0,
                                   when(UsageDimension::route, row.route),
                                   when(UsageDimension::backend, row.backend),
                                   when(UsageDimension::requested_model, row.requested_model),
                                   when(UsageDimension::served_model, row.served_model),
                                   time.time_since_epoch().count())];
            sum.attempts += 1;
            sum.failed += row.outcome == "ok" ? 0 : 1;
            sum.estimated += row.estimated ? 1 : 0;
            sum.tokens.prompt += row.tokens.prompt;
            sum.tokens.cached += row.tokens.cached;
            sum.tokens.cache_write += row.tokens.cache_write;
            sum.tokens.completion += row.tokens.completion;
            sum.tokens.reasoning += row.tokens.reasoning;
            sum.tokens.audio_input += row.tokens.audio_input;
            sum.tokens.audio_output += row.tokens.audio_output;
            sum.cost += row.cost;
            sum.duration += row.duration;
            sum.bytes_in += row.bytes_in;
            sum.bytes_out += row.bytes_out;
        }
        return groups;
    }

    std::map<Key, UsageTotals> found(const UsageQuery& query)
    {
        std::map<Key, UsageTotals> groups;
        PageRequest page(7);
        do {
            const auto part = must(store().usage_sums(query, page));
            for (const auto& group : part.rows) {
                const Key key(static_cast<std::int64_t>(group.project),
                              static_cast<std::int64_t>(group.token), group.route, group.backend,
                              group.requested_model, group.served_model,
                              group.time.time_since_epoch().count());
                EXPECT_TRUE(groups.emplace(key, group.totals).second) << "a group came twice";
            }
            page.cursor = part.next;
        } while (!page.cursor.empty());
        return groups;
    }

    void compare(const UsageQuery& query, const std::string& where)
    {
        EXPECT_EQ(found(query), expected(query)) << where;
    }

    /// Questions of every kind. \param border  below it times count by whole days
    void compare_all(const std::string& where, core::SystemTime border = {})
    {
        const auto aligned = [border](core::SystemTime time) -> core::SystemTime {
            if (time < border) {
                return std::chrono::floor<std::chrono::days>(time);
            }
            return time;
        };
        UsageQuery query;
        compare(query, where + ": all");
        query.group_by = {UsageDimension::project, UsageDimension::requested_model};
        compare(query, where + ": by project and model");
        query.group_by = {UsageDimension::day, UsageDimension::token, UsageDimension::route};
        compare(query, where + ": by day, token and route");
        query.filter.project = static_cast<core::ProjectId>(2);
        query.filter.backend = "azure";
        compare(query, where + ": filtered");
        query.filter.from = aligned(start_ + 5h + 17min);
        query.filter.to = aligned(start_ + 60h + 3min);
        compare(query, where + ": with odd ends");
        query.filter = {};
        query.filter.from = aligned(start_ + 7h + 10min);
        query.filter.to = aligned(start_ + 7h + 50min);
        compare(query, where + ": within an hour");
        if (border == core::SystemTime{}) {
            query.filter = {};
            query.group_by = {UsageDimension::hour};
            compare(query, where + ": by hour");
            query.group_by.push_back(UsageDimension::served_model);
            query.filter.from = start_ + 20h + 1ms;
            query.filter.to = start_ + 50h;
            query.filter.route = "embeddings";
            compare(query, where + ": by hour, filtered");
        }
    }

    std::int64_t count(const std::string& table) const
    {
        auto database = Database::open(path(), Database::Mode::read_only, 1s);
        const auto sql = "SELECT count(*) FROM " + table;
        Query query(*database, sql.c_str());
        EXPECT_TRUE(query.next());
        return query.integer();
    }

    core::SystemTime start_;
    std::mt19937 random_{7};
    std::vector<UsageRow> rows_;
};

TEST_F(UsageSums, AreTheSameWhateverTheyAreMadeOf)
{
    for (int i = 0; i < 400; ++i) {
        add(start_ + std::chrono::minutes(upto(72 * 60 - 1)));
    }
    compare_all("rows only");

    advance_to(start_ + 30h);
    must(store().upkeep());
    EXPECT_GT(count("usage_hourly"), 0);
    EXPECT_GT(count("usage_daily"), 0);
    EXPECT_GT(count("usage_dirty"), 0) << "the later hours are not over yet";
    compare_all("some hours and a day summed up");

    add(start_ + 3h + 5min);  // a long stream ends: its hour is summed up already
    add(start_ + 29h);
    compare_all("late rows");
    must(store().upkeep());
    compare_all("late rows summed up");

    advance_to(start_ + 100h);
    must(store().upkeep());
    EXPECT_EQ(count("usage_dirty"), 0);
    compare_all("all summed up");
    open();
    compare_all("opened again");
    add(start_ + 71h);
    compare_all("a row after that");
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(UsageSums, OutliveTheirRows)
{
    options_.settings.retention = 48h;
    options_.settings.rollup_retention = 96h;
    open();
    for (int i = 0; i < 1300; ++i) {
        add(start_ + std::chrono::minutes(upto(72 * 60 - 1)));
    }
    advance_to(start_ + 72h);
    must(store().upkeep());
    const auto kept = all_usage().size();
    EXPECT_LT(kept, rows_.size());
    EXPECT_GT(kept, 0U);
    for (const auto& row : all_usage()) {
        EXPECT_GE(row.time(), start_ + 24h);
    }
    compare_all("the first day's rows are gone", start_ + 24h);

    add(start_ + 10h);  // a tunnel of two days ends
    compare_all("a row older than what is kept", start_ + 24h);
    open();
    add(start_ + 11h);
    must(store().upkeep());
    compare_all("and deleted again", start_ + 24h);
    EXPECT_EQ(all_usage().size(), kept);

    advance_to(start_ + 24h * 30);
    must(store().upkeep());
    EXPECT_THAT(all_usage(), IsEmpty());
    EXPECT_EQ(count("usage_hourly"), 0);
    EXPECT_EQ(count("usage_dirty"), 0);
    compare_all("only days are left", start_ + 24h * 29);
    add(start_ + 12h);
    compare_all("a row older than the hours", start_ + 24h * 29);
    must(store().upkeep());
    compare_all("and deleted", start_ + 24h * 29);

    LedgerEntry all;
    for (const auto& row : rows_) {
        all += {row.cost, row.tokens.total(), 1};
    }
    LedgerEntry ledgers;
    for (std::int64_t project = 1; project <= 3; ++project) {
        const auto spent_of = spent(static_cast<core::ProjectId>(project), PeriodKind::total);
        ledgers += spent_of;
    }
    EXPECT_EQ(ledgers, all) << "the ledger forgets nothing";
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(UsageSums, MissNothingThatComesWhileTheyAreMade)
{
    std::atomic<bool> done{false};
    auto summing = std::thread([&] {
        while (!done) {
            static_cast<void>(wait(store().upkeep()));
        }
    });
    advance_to(start_ + 200h);  // every hour is due at once, while rows still come
    for (int i = 0; i < 600; ++i) {
        add(start_ + std::chrono::minutes(upto(3 * 60 - 1)));
    }
    done = true;
    summing.join();
    must(store().upkeep());
    EXPECT_EQ(count("usage_dirty"), 0);
    compare_all("after the race");
}

TEST_F(UsageSums, FindRowsByWhatTheyAre)
{
    for (int i = 0; i < 50; ++i) {
        add(start_ + std::chrono::minutes(i));
    }
    UsageFilter filter;
    filter.from = start_ + 10min;
    filter.to = start_ + 20min;
    EXPECT_THAT(must(store().usage(filter, {})).rows, SizeIs(10));
    filter.outcome = "upstream_reset";
    for (const auto& row : must(store().usage(filter, {})).rows) {
        EXPECT_EQ(row.outcome, "upstream_reset");
    }
    UsageFilter by_id;
    by_id.request_id = core::to_text(rows_[7].request);
    EXPECT_THAT(must(store().usage(by_id, {})).rows, testing::ElementsAre(rows_[7]));
    auto named = usage_row(static_cast<core::ProjectId>(1), static_cast<core::TokenId>(1));
    named.request_id = core::to_text(core::make_uuid7(clock_->wall()));  // a client may send one
    ASSERT_TRUE(settle({}, named));
    by_id.request_id = named.request_id;
    EXPECT_THAT(must(store().usage(by_id, {})).rows, testing::ElementsAre(named));
    by_id.request_id = "unknown";
    EXPECT_THAT(must(store().usage(by_id, {})).rows, IsEmpty());

    for (const bool newest : {false, true}) {
        PageRequest page(8, newest);
        std::vector<core::SystemTime> times;
        do {
            const auto part = must(store().usage({}, page));
            for (const auto& row : part.rows) {
                times.push_back(row.time());
            }
            page.cursor = part.next;
        } while (!page.cursor.empty());
        ASSERT_THAT(times, SizeIs(51));
        EXPECT_TRUE(newest ? std::is_sorted(times.rbegin(), times.rend())
                           : std::is_sorted(times.begin(), times.end()));
    }
}

TEST_F(UsageSums, ExpiredResourcesAreForgotten)
{
    const auto project = add_project("alpha");
    ResourceRow file;
    file.project = project.id;
    file.kind = "file";
    for (int i = 0; i < 450; ++i) {
        file.id = "file-" + std::to_string(i);
        file.expires.reset();
        if (i % 2 == 0) {
            file.expires = clock_->wall() + std::chrono::minutes(1);
        }
        must(store().put_resource(file));
    }
    must(store().upkeep());
    EXPECT_EQ(count("resources"), 450);
    clock_->advance(2min);
    must(store().upkeep());
    EXPECT_EQ(count("resources"), 225);
}

}  // namespace
}  // namespace llmproxy::storage
