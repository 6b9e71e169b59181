#include "fault_vfs.hpp"
#include "storage/sqlite.hpp"
#include "store_fixture.hpp"

#include <filesystem>
#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/stat.h>

namespace llmproxy::storage {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StoreFile : public test::StoreFixture {
protected:
    StoreFile()
    {
        test::FaultVfs::install();
        test::FaultVfs::heal();
        open();
        project_ = add_project("alpha").id;
        token_ = add_token(project_, "ci").id;
    }
    ~StoreFile() override { test::FaultVfs::heal(); }

    void change(const char* sql) const
    {
        auto database = Database::open(path(), Database::Mode::read_write, 1s);
        ASSERT_TRUE(database->run(sql));
    }

    [[nodiscard]] std::vector<std::string> files() const
    {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
            names.push_back(entry.path().filename());
        }
        return names;
    }

    static unsigned mode_of(const std::string& path)
    {
        struct stat facts {};
        EXPECT_EQ(::stat(path.c_str(), &facts), 0) << path;
        return facts.st_mode & 0777U;
    }

    core::ProjectId project_{};
    core::TokenId token_{};
};

TEST_F(StoreFile, IsOpenInOneProgramAtATime)
{
    const auto second = open_sqlite(options_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().errc(), Errc::conflict);
    EXPECT_THAT(second.error().detail(), HasSubstr("in use"));
    close();
    EXPECT_TRUE(open_sqlite(options_));
}

TEST_F(StoreFile, IsReadableForItsOwnerOnly)
{
    const auto row = usage_row(project_, token_);
    ASSERT_TRUE(settle(reserve(row), row));
    must(store().backup(folder_.file("copy.db")));
    for (const auto& name : files()) {
        EXPECT_EQ(mode_of(folder_.file(name)), 0600U) << name;
    }
    EXPECT_THAT(files(), Contains("store.db-wal"));
}

TEST_F(StoreFile, BackupIsTheStoreAsItIsAtOneMoment)
{
    std::vector<UsageRow> rows;
    for (int i = 0; i < 300; ++i) {
        rows.push_back(usage_row(project_, token_, i));
        ASSERT_TRUE(settle({}, rows.back()));
        clock_->advance(1ms);
    }
    // Meanwhile work goes on.
    std::atomic<bool> done{false};
    std::thread worker([&] {
        while (!done) {
            ASSERT_TRUE(settle({}, usage_row(project_, token_)));
        }
    });
    const auto copy = folder_.file("copy.db");
    must(store().backup(copy));
    done = true;
    worker.join();

    const auto refused = wait(store().backup(copy));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::conflict);

    const auto report = check_sqlite(copy);
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_THAT(report->problems, IsEmpty());
    EXPECT_GE(report->usage_rows, 300);
    options_.settings.path = copy;
    open();
    const auto restored = must(store().usage({}, PageRequest(300))).rows;
    EXPECT_EQ(restored, rows);
    EXPECT_TRUE(must(store().token(token_)));
}

TEST_F(StoreFile, BackupThatFailsLeavesNoFile)
{
    const auto before = files();
    EXPECT_FALSE(wait(store().backup(folder_.file("no/such/folder.db"))));
    EXPECT_THAT(files(), testing::UnorderedElementsAreArray(before));

    test::FaultVfs::fail_writes_after(3, SQLITE_FULL);
    const auto failed = wait(store().backup(folder_.file("copy.db")));
    test::FaultVfs::heal();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().errc(), Errc::store_unavailable);
    EXPECT_THAT(files(), testing::UnorderedElementsAreArray(before));
    EXPECT_TRUE(store().healthy()) << "that was not the store's own disk";
    must(store().backup(folder_.file("copy.db")));
}

TEST_F(StoreFile, BackupWithoutADaemonNeedsItsLock)
{
    ASSERT_TRUE(settle({}, usage_row(project_, token_)));
    const auto copy = folder_.file("copy.db");
    const auto refused = backup_sqlite(path(), copy);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::conflict);
    close();
    ASSERT_TRUE(backup_sqlite(path(), copy));
    EXPECT_EQ(check_sqlite(copy)->usage_rows, 1);
    EXPECT_FALSE(backup_sqlite(folder_.file("none.db"), folder_.file("other.db")));
    EXPECT_FALSE(std::filesystem::exists(folder_.file("other.db")));
}

TEST_F(StoreFile, CheckTellsWhatIsThereAlsoWhileItIsUsed)
{
    ASSERT_TRUE(settle({}, usage_row(project_, token_)));
    auto held = reserve(usage_row(project_, token_));
    auto report = check_sqlite(path());
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_TRUE(report->in_use);
    EXPECT_EQ(report->projects, 1);
    EXPECT_EQ(report->tokens, 1);
    EXPECT_EQ(report->usage_rows, 1);
    EXPECT_THAT(report->problems, IsEmpty());
    ASSERT_TRUE(settle({}, usage_row(project_, token_))) << "nobody was disturbed";

    close();
    report = check_sqlite(path());
    ASSERT_TRUE(report);
    EXPECT_FALSE(report->in_use);
    EXPECT_EQ(report->reservations, 1);
    EXPECT_FALSE(check_sqlite(folder_.file("none.db")));
    EXPECT_FALSE(std::filesystem::exists(folder_.file("none.db")));
}

TEST_F(StoreFile, CheckFindsSumsThatAreNotThoseOfTheRows)
{
    ASSERT_TRUE(settle({}, usage_row(project_, token_, 500)));
    close();
    EXPECT_THAT(problems(), IsEmpty());
    change("UPDATE ledger SET cost = cost + 1 WHERE subject_kind = 2");
    ASSERT_THAT(problems(), SizeIs(1));
    EXPECT_THAT(problems()[0], HasSubstr("token 1"));
    EXPECT_THAT(problems()[0], HasSubstr("501"));
    change("DELETE FROM ledger");
    EXPECT_THAT(problems(), SizeIs(2));
    change("INSERT INTO ledger VALUES(1, 77, 19000, 5, 5, 5)");
    EXPECT_THAT(problems(), Contains(HasSubstr("project 77")));
}

TEST_F(StoreFile, CheckFindsADamagedFile)
{
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(settle({}, usage_row(project_, token_)));
    }
    close();
    auto bytes = llmproxy::test::read_file(path());
    for (std::size_t at = 4096 * 20; at < bytes.size(); at += 4096) {
        bytes.replace(at, 200, std::string(200, '\x5a'));
    }
    llmproxy::test::write_file(path(), bytes);
    const auto report = check_sqlite(path());
    EXPECT_TRUE(!report || !report->problems.empty());
    llmproxy::test::write_file(path(), std::string(8192, 'x'));
    EXPECT_FALSE(check_sqlite(path()));
    EXPECT_FALSE(open_sqlite(options_));
}

TEST_F(StoreFile, ClosedStoreHasNoLogBesideIt)
{
    ASSERT_TRUE(settle({}, usage_row(project_, token_)));
    close();
    EXPECT_THAT(files(), testing::UnorderedElementsAre("store.db", "store.db-lock",
                                                       "store.db-reservations"));
}

}  // namespace
}  // namespace llmproxy::storage
