#include "storage/sqlite.hpp"

#include "storage/store_error.hpp"
#include "storage/values.hpp"
#include "support/temp_dir.hpp"

#include <gtest/gtest.h>
#include <thread>

namespace llmproxy::storage {
namespace {

using namespace std::chrono_literals;

class Sqlite : public testing::Test {
protected:
    Sqlite() : database_(open(Database::Mode::create))
    {
        EXPECT_TRUE(database_.run("CREATE TABLE t(a INTEGER, b TEXT, c BLOB) STRICT"));
    }

    [[nodiscard]] Database open(Database::Mode mode) const
    {
        return std::move(*Database::open(folder_.file("x.db"), mode, 10ms));
    }

    core::Result<void> insert(std::int64_t number, std::string_view text, std::string_view blob)
    {
        Query query(database_, "INSERT INTO t(a, b, c) VALUES(?,?,?)");
        query.put(number);
        query.put_text(text);
        query.put_blob(blob);
        return query.run();
    }

    llmproxy::test::TempDir folder_;
    Database database_;
};

TEST_F(Sqlite, GivesBackTheBytesThatItWasGiven)
{
    std::string every;
    for (int i = 0; i < 256; ++i) {
        every += static_cast<char>(i);
    }
    const std::string texts[] = {"",
                                 "'; DROP TABLE t; --",
                                 "100%_[x]\\",
                                 "\xF0\x9F\xA6\x8A \xE4\xBD\xA0\xE5\xA5\xBD \xCC\x81",
                                 std::string("nul\0nul", 7),
                                 std::string(10'240, 'n'),
                                 every};
    for (const auto& text : texts) {
        ASSERT_TRUE(database_.run("DELETE FROM t"));
        ASSERT_TRUE(insert(-1, text, text));
        Query query(database_, "SELECT a, b, c FROM t WHERE b = ? AND c = ?");
        query.put_text(text);
        query.put_blob(text);
        ASSERT_TRUE(query.next()) << text;
        EXPECT_EQ(query.integer(), -1);
        EXPECT_EQ(query.text(), text);
        EXPECT_EQ(query.blob(), text);
        EXPECT_FALSE(query.next());
        EXPECT_FALSE(query.failed());
    }
}

TEST_F(Sqlite, EmptyTextIsNotNull)
{
    ASSERT_TRUE(insert(1, std::string_view(), std::string_view()));
    Query query(database_, "SELECT b, c FROM t WHERE b IS NOT NULL AND c IS NOT NULL");
    ASSERT_TRUE(query.next());
    EXPECT_FALSE(query.is_null());
    EXPECT_EQ(query.text(), "");
    EXPECT_FALSE(query.is_null());
}

TEST_F(Sqlite, StatementWithoutAllItsValuesDoesNotRun)
{
    Query query(database_, "INSERT INTO t(a, b) VALUES(?,?)");
    query.put(1);
    EXPECT_FALSE(query.run());
    Query count(database_, "SELECT count(*) FROM t");
    ASSERT_TRUE(count.next());
    EXPECT_EQ(count.integer(), 0);
}

TEST_F(Sqlite, StatementThatCannotBePreparedFails)
{
    Query query(database_, "SELECT nothing FROM nowhere");
    EXPECT_FALSE(query.next());
    ASSERT_TRUE(query.failed());
    EXPECT_NE(query.failure().detail().find("nowhere"), std::string::npos);
}

TEST_F(Sqlite, TransactionIsTakenBackUnlessCommitted)
{
    {
        Transaction transaction(database_, "BEGIN IMMEDIATE");
        ASSERT_TRUE(transaction.begun());
        ASSERT_TRUE(insert(1, "a", "b"));
    }
    {
        Transaction transaction(database_, "BEGIN IMMEDIATE");
        ASSERT_TRUE(insert(2, "a", "b"));
        ASSERT_TRUE(transaction.commit());
    }
    Query query(database_, "SELECT a FROM t");
    ASSERT_TRUE(query.next());
    EXPECT_EQ(query.integer(), 2);
    EXPECT_FALSE(query.next());
}

constexpr char kEndless[] =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

TEST_F(Sqlite, GivesUpAtItsTime)
{
    database_.give_up_at(std::chrono::steady_clock::now() + 20ms);
    Query query(database_, kEndless);
    EXPECT_FALSE(query.next());
    ASSERT_TRUE(query.failed());
    EXPECT_EQ(query.failure().errc(), core::Errc::overloaded);
    EXPECT_EQ(state_of(query.failure()), StoreState::ok) << "the store itself is fine";
}

TEST_F(Sqlite, StopsFromAnotherThread)
{
    std::thread stopper([this] { database_.stop(); });
    Query query(database_, kEndless);
    EXPECT_FALSE(query.next());
    EXPECT_TRUE(query.failed());
    stopper.join();
}

TEST_F(Sqlite, TellsLockedAndReadOnlyFromBroken)
{
    ASSERT_TRUE(database_.run("BEGIN IMMEDIATE"));
    auto other = open(Database::Mode::read_write);
    EXPECT_EQ(state_of(other.run("BEGIN IMMEDIATE").error()), StoreState::busy);
    ASSERT_TRUE(database_.run("COMMIT"));

    auto reader = open(Database::Mode::read_only);
    EXPECT_EQ(state_of(reader.run("DELETE FROM t").error()), StoreState::read_only);

    const auto none =
        Database::open(folder_.file("no/such/folder.db"), Database::Mode::create, 1ms);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().errc(), core::Errc::store_unavailable);
    EXPECT_EQ(state_of(none.error()), StoreState::failed);

    llmproxy::test::write_file(folder_.file("text.db"), std::string(5000, 'x'));
    auto text = Database::open(folder_.file("text.db"), Database::Mode::read_write, 1ms);
    ASSERT_TRUE(text);
    EXPECT_EQ(state_of(text->run("SELECT * FROM sqlite_schema").error()), StoreState::corrupt);
}

TEST_F(Sqlite, ListThatCannotBeReadFailsInsteadOfAllowingEverything)
{
    EXPECT_EQ(encode_list({}), "[]");
    EXPECT_EQ(encode_list({"a", "b\"\n"}), R"(["a","b\"\n"])");
    EXPECT_FALSE(encode_list({"\xff"})) << "no UTF-8";
    EXPECT_EQ(decode_list(R"(["gpt-*"])"), std::vector<std::string>{"gpt-*"});
    for (const auto* bad : {"", "gpt", "{}", "[1]", "[\"a\""}) {
        EXPECT_FALSE(decode_list(bad)) << bad;
    }
    ASSERT_TRUE(insert(1, "[broken", "short"));
    Query query(database_, "SELECT b FROM t");
    std::vector<std::string> list;
    ASSERT_TRUE(query.next());
    read_all(query, list);
    EXPECT_TRUE(query.failed());
    EXPECT_EQ(state_of(query.failure()), StoreState::corrupt);

    Query hash_query(database_, "SELECT c FROM t");
    TokenHash hash{};
    ASSERT_TRUE(hash_query.next());
    read_all(hash_query, hash);
    EXPECT_TRUE(hash_query.failed()) << "a hash has 32 bytes";
}

}  // namespace
}  // namespace llmproxy::storage
