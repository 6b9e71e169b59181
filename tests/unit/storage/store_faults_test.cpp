#include "fault_vfs.hpp"
#include "storage/sqlite.hpp"
#include "store_fixture.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <unistd.h>

namespace llmproxy::storage {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using test::FaultVfs;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class StoreFaults : public test::StoreFixture {
protected:
    StoreFaults()
    {
        FaultVfs::install();
        FaultVfs::heal();
        options_.lock_patience = 1ms;
        options_.probe_interval = 5ms;
    }
    ~StoreFaults() override { FaultVfs::heal(); }

    void open_with_account()
    {
        open();
        project_ = add_project("alpha").id;
        token_ = add_token(project_, "ci").id;
    }

    /// Writes until that works again, and says what it came to before.
    void wait_until_it_works()
    {
        for (int attempt = 0; attempt < 1000; ++attempt) {
            if (wait(store().append_audit(by("probe")))) {
                return;
            }
        }
        FAIL() << "the store did not recover: " << store().health().reason;
    }

    void expect_broken(StoreState state)
    {
        EXPECT_FALSE(store().healthy());
        EXPECT_EQ(store().health().state, state) << word_of(store().health().state);
        EXPECT_FALSE(store().health().reason.empty());
        const auto row = usage_row(project_, token_);
        const auto refused = wait(store().reserve(record_of(row, 1, 1)));
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().errc(), Errc::store_unavailable);
        ProjectRow more;
        more.name = "more";
        const auto change = wait(store().put_project(more, by("root")));
        ASSERT_FALSE(change);
        EXPECT_EQ(change.error().errc(), Errc::store_unavailable);
    }

    /// Every row once, in the ledger too, and no reservation left.
    void expect_all(const std::vector<UsageRow>& rows)
    {
        EXPECT_TRUE(store().healthy());
        EXPECT_EQ(store().stats().reservations, 0U);
        EXPECT_EQ(store().stats().unsettled, 0U);
        auto found = all_usage();
        EXPECT_THAT(found, testing::UnorderedElementsAreArray(rows));
        LedgerEntry sum;
        for (const auto& row : rows) {
            sum += {row.cost, row.tokens.total(), 1};
        }
        EXPECT_EQ(spent(project_, PeriodKind::total), sum);
        EXPECT_EQ(spent(token_, PeriodKind::total), sum);
        close();
        EXPECT_THAT(problems(), IsEmpty());
    }

    /// Settles some requests in a new store whose writes fail from one on, until they work again.
    /// \return the writes until all were told
    std::int64_t settle_with_fault(std::int64_t passes, int code)
    {
        const llmproxy::test::TempDir folder;
        options_.settings.path = folder.file("store.db");
        open_with_account();
        std::vector<UsageRow> rows;
        std::vector<std::future<core::Result<void>>> waits;
        FaultVfs::fail_writes_after(passes, code);
        for (int i = 0; i < 5; ++i) {
            rows.push_back(usage_row(project_, token_, 100 + i));
            auto held = wait(store().reserve(record_of(rows.back(), 5000, 100)));
            if (!held) {  // the first ones have failed already
                rows.pop_back();
                continue;
            }
            std::vector<UsageRow> of_request{rows.back()};
            Settlement settlement(std::move(*held), std::move(of_request));
            waits.push_back(loop_.start(store().settle(std::move(settlement))));
        }
        for (auto& one : waits) {
            static_cast<void>(one.get());
        }
        const auto writes = FaultVfs::writes();
        FaultVfs::heal();
        wait_until_it_works();
        expect_all(rows);
        close();
        return writes;
    }

    core::ProjectId project_{};
    core::TokenId token_{};
};

TEST_F(StoreFaults, SettlesWhatItCouldNotWriteOnceTheDiskTakesItAgain)
{
    open_with_account();
    const auto row = usage_row(project_, token_, 77);
    auto held = reserve(row);
    FaultVfs::fail_writes_after(0, SQLITE_FULL);
    const auto failed = settle(std::move(held), row);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().errc(), Errc::store_unavailable);
    expect_broken(StoreState::full);
    EXPECT_EQ(store().stats().unsettled, 1U);
    EXPECT_EQ(store().stats().reservations, 1U);
    EXPECT_TRUE(wait(store().project(project_))) << "reading goes on";

    FaultVfs::heal();
    wait_until_it_works();
    expect_all({row});
}

TEST_F(StoreFaults, RemembersWhatItCouldNotWriteAcrossARestart)
{
    open_with_account();
    auto row = usage_row(project_, token_, 77);
    auto held = reserve(row, 5000);
    FaultVfs::fail_writes_after(0, SQLITE_FULL);
    ASSERT_FALSE(settle(std::move(held), row));
    close();
    FaultVfs::heal();
    open();
    const auto rows = all_usage();
    ASSERT_THAT(rows, SizeIs(1));
    EXPECT_EQ(rows[0].cost.count, 77) << "what it cost, not what was reserved";
    EXPECT_EQ(rows[0].outcome, "ok");
    expect_all(rows);
}

TEST_F(StoreFaults, WriteThatFailsAnywhereLosesAndDoublesNothing)
{
    constexpr std::int64_t kNever = 1'000'000;
    for (const auto durability : {Durability::process, Durability::power}) {
        options_.settings.durability = durability;
        const auto writes = settle_with_fault(kNever, SQLITE_OK);
        ASSERT_GT(writes, 2);
        for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC}) {
            for (std::int64_t passes = 0; passes < writes && !HasFailure(); ++passes) {
                SCOPED_TRACE("code " + std::to_string(code) + " after " + std::to_string(passes));
                settle_with_fault(passes, code);
            }
        }
    }
}

TEST_F(StoreFaults, SaysBusyWhileAnotherProgramHoldsTheFile)
{
    open_with_account();
    const auto row = usage_row(project_, token_);
    auto held = reserve(row);
    auto intruder = Database::open(path(), Database::Mode::read_write, 1s);
    ASSERT_TRUE(intruder->run("BEGIN IMMEDIATE"));
    ASSERT_FALSE(settle(std::move(held), row));
    expect_broken(StoreState::busy);
    ASSERT_TRUE(intruder->run("ROLLBACK"));
    wait_until_it_works();
    expect_all({row});
}

TEST_F(StoreFaults, SaysCorruptAndWorksAgainWithASoundFile)
{
    open_with_account();
    const auto row = usage_row(project_, token_);
    open();  // all is in the database file now, nothing in the log or in memory
    auto held = reserve(row);
    FaultVfs::garble_reads();
    ASSERT_FALSE(settle(std::move(held), row));
    expect_broken(StoreState::corrupt);
    const auto unread = wait(store().projects({}));
    ASSERT_FALSE(unread);
    EXPECT_EQ(unread.error().errc(), Errc::store_unavailable);
    FaultVfs::heal();
    wait_until_it_works();
    EXPECT_THAT(must(store().projects({})).rows, SizeIs(1)) << "readers open the file anew too";
    expect_all({row});
}

TEST_F(StoreFaults, SaysReadOnlyUntilTheFileCanBeWritten)
{
    open_with_account();
    const auto row = usage_row(project_, token_);
    auto held = reserve(row);
    FaultVfs::fail_writes_after(0, SQLITE_READONLY);
    ASSERT_FALSE(settle(std::move(held), row));
    expect_broken(StoreState::read_only);
    FaultVfs::heal();
    wait_until_it_works();
    expect_all({row});
}

TEST_F(StoreFaults, CommitsInGroupsWhatCameMeanwhile)
{
    options_.lock_patience = 30s;
    open_with_account();
    constexpr std::size_t kRequests = 200;
    std::vector<UsageRow> rows;
    std::vector<Reservation> held;
    for (std::size_t i = 0; i < kRequests; ++i) {
        rows.push_back(usage_row(project_, token_));
        held.push_back(reserve(rows.back()));
    }
    auto intruder = Database::open(path(), Database::Mode::read_write, 1s);
    ASSERT_TRUE(intruder->run("BEGIN IMMEDIATE"));
    const auto before = store().stats();
    std::vector<std::future<core::Result<void>>> waits;
    for (std::size_t i = 0; i < kRequests; ++i) {
        std::vector<UsageRow> of_request{rows[i]};
        Settlement settlement(std::move(held[i]), std::move(of_request));
        waits.push_back(loop_.start(store().settle(std::move(settlement))));
    }
    while (store().stats().queued < kRequests) {
        std::this_thread::yield();
    }
    ASSERT_TRUE(intruder->run("ROLLBACK"));
    for (auto& one : waits) {
        EXPECT_TRUE(one.get());
    }
    const auto after = store().stats();
    EXPECT_EQ(after.writes - before.writes, kRequests);
    EXPECT_LT(after.commits - before.commits, kRequests / 2);
    expect_all(rows);
}

TEST_F(StoreFaults, RefusesMoreChangesThanItsQueueHoldsButNoReservation)
{
    options_.lock_patience = 30s;
    options_.max_queued_writes = 10;
    open_with_account();
    std::vector<UsageRow> rows;
    std::vector<Reservation> held;
    for (int i = 0; i < 40; ++i) {
        rows.push_back(usage_row(project_, token_));
        held.push_back(reserve(rows.back()));
    }
    auto intruder = Database::open(path(), Database::Mode::read_write, 1s);
    ASSERT_TRUE(intruder->run("BEGIN IMMEDIATE"));
    std::vector<std::future<core::Result<void>>> changes;
    for (int i = 0; i < 60; ++i) {
        changes.push_back(loop_.start(store().append_audit(by("root"))));
    }
    std::vector<std::future<core::Result<void>>> waits;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::vector<UsageRow> of_request{rows[i]};
        Settlement settlement(std::move(held[i]), std::move(of_request));
        waits.push_back(loop_.start(store().settle(std::move(settlement))));
    }
    const auto told = [&changes] {
        return static_cast<std::size_t>(
            std::count_if(changes.begin(), changes.end(), [](const auto& one) {
                return one.wait_for(0s) == std::future_status::ready;
            }));
    };
    while (told() + store().stats().queued < changes.size() + waits.size()) {
        std::this_thread::yield();
    }
    // A queue's worth is in the transaction that waits, at most, and one in the queue.
    const auto refused = told();
    EXPECT_GE(refused, changes.size() - 2 * options_.max_queued_writes);
    ASSERT_TRUE(intruder->run("ROLLBACK"));
    for (auto& one : waits) {
        EXPECT_TRUE(one.get());
    }
    std::size_t failed = 0;
    for (auto& one : changes) {
        const auto outcome = one.get();
        EXPECT_TRUE(outcome || outcome.error().errc() == Errc::overloaded);
        failed += outcome ? 0 : 1;
    }
    EXPECT_EQ(failed, refused);
    expect_all(rows);
}

/// A small file system of the test's own; skipped where the system allows none.
class StoreOnSmallDisk : public StoreFaults {
protected:
    void SetUp() override
    {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
            GTEST_SKIP() << "no mount namespace: " << std::strerror(errno);
        }
        mounted_ = true;
    }
    ~StoreOnSmallDisk() override
    {
        close();
        if (mounted_) {
            ::umount2(folder_.path().c_str(), MNT_DETACH);
        }
    }

    /// Takes what room is left, but for so many bytes.
    void fill(std::size_t leave)
    {
        const auto name = folder_.file("ballast");
        const int file = ::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        const std::string page(4096, 'x');
        while (::write(file, page.data(), page.size()) > 0) {}
        const auto size = ::lseek(file, 0, SEEK_END);
        EXPECT_EQ(::ftruncate(file, size - static_cast<off_t>(leave)), 0);
        ::close(file);
    }

    void make_room() { ::unlink(folder_.file("ballast").c_str()); }

private:
    bool mounted_ = false;
};

TEST_F(StoreOnSmallDisk, TakesNoWorkWhileItIsFullAndLosesNothing)
{
    open_with_account();
    fill(64 * 1024);
    std::vector<UsageRow> rows;
    bool failed = false;
    for (int i = 0; i < 5000 && !failed; ++i) {
        const auto row = usage_row(project_, token_, i);
        auto held = reserve(row);
        rows.push_back(row);
        failed = !settle(std::move(held), row);
    }
    ASSERT_TRUE(failed);
    expect_broken(StoreState::full);
    make_room();
    wait_until_it_works();
    EXPECT_GT(rows.size(), 1U);
    std::vector<UsageRow> found;
    PageRequest page(1000);
    do {
        const auto part = must(store().usage({}, page));
        found.insert(found.end(), part.rows.begin(), part.rows.end());
        page.cursor = part.next;
    } while (!page.cursor.empty());
    EXPECT_EQ(found.size(), rows.size());
    EXPECT_EQ(store().stats().reservations, 0U);
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(StoreOnSmallDisk, DoesNotStartWithoutRoomForItsReservations)
{
    options_.reservations = 1U << 13U;  // 2 MiB
    const auto refused = open_sqlite(options_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::store_unavailable);
    EXPECT_THAT(refused.error().detail(), HasSubstr("reservations"));
    EXPECT_THAT(refused.error().detail(), HasSubstr("No space"));
    options_.reservations = 256;
    EXPECT_TRUE(open_sqlite(options_)) << "and leaves nothing that is in the way";
}

TEST_F(StoreOnSmallDisk, DoesNotStartOnAReadOnlyOne)
{
    open();
    close();
    ASSERT_EQ(::mount(nullptr, folder_.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr),
              0);
    const auto refused = open_sqlite(options_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::store_unavailable);
    EXPECT_THAT(refused.error().detail(), HasSubstr("Read-only"));
    const auto report = check_sqlite(path());
    ASSERT_TRUE(report) << report.error().describe();
    EXPECT_THAT(report->problems, IsEmpty()) << "but can be looked at";
}

}  // namespace
}  // namespace llmproxy::storage
