#include "storage/schema.hpp"

#include "llmproxy/storage/sqlite_store.hpp"
#include "storage/store_error.hpp"
#include "support/temp_dir.hpp"

#include <gmock/gmock.h>

namespace llmproxy::storage {
namespace {

using testing::HasSubstr;

class Schema : public testing::Test {
protected:
    [[nodiscard]] Database open() const
    {
        return std::move(*Database::open(folder_.file("x.db"), Database::Mode::create,
                                         std::chrono::milliseconds(10)));
    }

    static std::int64_t number(Database& database, const char* sql)
    {
        Query query(database, sql);
        EXPECT_TRUE(query.next());
        return query.integer();
    }

    llmproxy::test::TempDir folder_;
};

TEST_F(Schema, IsMadeOnceAndThenLeftAlone)
{
    auto database = open();
    EXPECT_EQ(*migrate(database), 0);
    EXPECT_EQ(*schema_of(database), known_schema());
    const auto version = number(database, "PRAGMA schema_version");
    EXPECT_EQ(*migrate(database), known_schema());
    EXPECT_EQ(number(database, "PRAGMA schema_version"), version);
}

TEST_F(Schema, NewerOneIsRefusedUntouched)
{
    auto database = open();
    ASSERT_TRUE(migrate(database));
    ASSERT_TRUE(database.run("PRAGMA user_version = 999"));
    const auto refused = migrate(database);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), core::Errc::store_unavailable);
    EXPECT_THAT(refused.error().detail(), HasSubstr("999"));
    EXPECT_EQ(number(database, "PRAGMA user_version"), 999);

    SqliteOptions options;
    options.settings.path = folder_.file("x.db");
    const auto opened = open_sqlite(options);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error().describe(), HasSubstr("newer"));
    EXPECT_FALSE(check_sqlite(options.settings.path));
}

TEST_F(Schema, DatabaseOfSomebodyElseIsRefused)
{
    auto database = open();
    ASSERT_TRUE(database.run("CREATE TABLE theirs(a)"));
    const auto refused = migrate(database);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().detail(), HasSubstr("not one of llm-proxy"));
    EXPECT_EQ(number(database, "SELECT count(*) FROM sqlite_schema"), 1);
}

TEST_F(Schema, MigrationThatFailsLeavesWhatWasBefore)
{
    auto database = open();
    ASSERT_TRUE(migrate(database));
    // As if the first migration had been made, and then something stood in the way of the second,
    // in the midst of it.
    ASSERT_TRUE(database.run("DROP TABLE usage; DROP TABLE ledger; DROP TABLE usage_dirty;"
                             "PRAGMA user_version = 1"));
    const auto tables = number(database, "SELECT count(*) FROM sqlite_schema");
    const auto refused = migrate(database);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().detail(), HasSubstr("migration 2"));
    EXPECT_EQ(number(database, "SELECT count(*) FROM sqlite_schema"), tables);
    EXPECT_EQ(*schema_of(database), 1);

    ASSERT_TRUE(database.run("DROP TABLE usage_hourly; DROP TABLE usage_daily"));
    EXPECT_EQ(*migrate(database), 1);
    EXPECT_EQ(*schema_of(database), known_schema());
}

}  // namespace
}  // namespace llmproxy::storage
