#include "llmproxy/storage/reservation_journal.hpp"

#include "support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <set>
#include <thread>

namespace llmproxy::storage {
namespace {

using core::Errc;
using testing::IsEmpty;
using testing::SizeIs;

class Journal : public testing::Test {
protected:
    std::unique_ptr<ReservationJournal> open(std::uint32_t slots = 64)
    {
        auto journal = ReservationJournal::open(path_, slots);
        EXPECT_TRUE(journal) << journal.error().describe();
        return std::move(*journal);
    }

    ReservationRecord record(std::int64_t cost = 100)
    {
        ReservationRecord made;
        made.request = core::make_uuid7(clock_.wall());
        clock_.advance(std::chrono::milliseconds(1));
        made.project = static_cast<core::ProjectId>(7);
        made.token = static_cast<core::TokenId>(9);
        made.cost = {cost};
        made.tokens = 42;
        made.route = "chat_completions";
        made.model = "gpt-4o";
        made.stream = true;
        return made;
    }

    llmproxy::test::TempDir folder_;
    core::ManualClock clock_;
    const std::string path_ = folder_.file("store.db-reservations");
};

TEST_F(Journal, FindsWhatWasOccupiedWhenItIsOpenedAgain)
{
    const auto first = record(111);
    const auto second = record(222);
    {
        const auto journal = open();
        ASSERT_TRUE(
            journal->occupy(second));  // found in the order of the requests, not of the slots
        const auto gone = journal->occupy(record());
        ASSERT_TRUE(journal->occupy(first));
        journal->free(*gone);
        EXPECT_EQ(journal->occupied(), 2U);
    }
    const auto journal = open();
    ASSERT_THAT(journal->left_over(), SizeIs(2));
    const auto& found = journal->left_over()[0];
    EXPECT_EQ(found.record.request, first.request);
    EXPECT_EQ(found.record.project, first.project);
    EXPECT_EQ(found.record.token, first.token);
    EXPECT_EQ(found.record.cost, first.cost);
    EXPECT_EQ(found.record.tokens, first.tokens);
    EXPECT_EQ(found.record.route, first.route);
    EXPECT_EQ(found.record.model, first.model);
    EXPECT_TRUE(found.record.stream);
    EXPECT_FALSE(found.settled);
    EXPECT_EQ(found.row.outcome, kIndeterminate);
    EXPECT_EQ(found.row.cost, first.cost);
    EXPECT_EQ(found.row.tokens.total(), 42);
    EXPECT_EQ(journal->left_over()[1].record.request, second.request);
    EXPECT_EQ(*ReservationJournal::count(path_), 2U);
    for (const auto& one : journal->left_over()) {
        journal->free(one.slot);
    }
    EXPECT_THAT(open()->left_over(), IsEmpty());
}

TEST_F(Journal, RemembersATunnelsHostAndBytes)
{
    auto tunnel = record(0);
    tunnel.tokens = 0;
    tunnel.model.clear();
    tunnel.host = "api.example.com:443";
    UsageRow row;
    row.outcome = "ok";
    row.bytes_in = (std::int64_t{5} << 32) + 7;
    row.bytes_out = std::int64_t{3} << 33;
    {
        const auto journal = open();
        ASSERT_TRUE(journal->occupy(tunnel));
        const auto ended = journal->occupy(tunnel);
        journal->settle(*ended, std::vector<UsageRow>{row});
    }
    const auto journal = open();
    ASSERT_THAT(journal->left_over(), SizeIs(2));
    for (const auto& found : journal->left_over()) {
        EXPECT_EQ(found.row.host, tunnel.host);
        EXPECT_EQ(found.row.requested_model, "");
        EXPECT_EQ(found.row.tokens, TokenCounts{});
        EXPECT_EQ(found.row.bytes_in, found.settled ? row.bytes_in : 0);
        EXPECT_EQ(found.row.bytes_out, found.settled ? row.bytes_out : 0);
        EXPECT_EQ(found.row.outcome, found.settled ? "ok" : kIndeterminate);
    }
}

TEST_F(Journal, RemembersWhatASettledRequestCost)
{
    UsageRow row;
    row.tokens = {1, 2, 3, 4, 5, 6, 7};
    row.cost = {1000};
    row.status = 200;
    row.outcome = "upstream_credentials_rejected";
    row.backend = "openai";
    auto second = row;
    second.tokens.prompt = std::int64_t{1} << 40;  // more than a slot can say
    second.estimated = true;
    second.outcome = "ok";
    {
        const auto journal = open();
        const auto slot = journal->occupy(record());
        const std::vector<UsageRow> rows{row, second};
        journal->settle(*slot, rows);
    }
    const auto journal = open();
    ASSERT_THAT(journal->left_over(), SizeIs(1));
    const auto& found = journal->left_over()[0];
    EXPECT_TRUE(found.settled);
    EXPECT_EQ(found.attempts, 2U);
    EXPECT_EQ(found.row.cost.count, 2000);
    EXPECT_EQ(found.row.tokens.prompt, 0xffff'ffff);
    EXPECT_EQ(found.row.tokens.audio_output, 14);
    EXPECT_TRUE(found.row.estimated);
    EXPECT_TRUE(found.row.priced);
    EXPECT_TRUE(found.row.stream);
    EXPECT_EQ(found.row.status, 200);
    EXPECT_EQ(found.row.outcome, "ok");
    EXPECT_EQ(found.row.backend, "openai");
}

TEST_F(Journal, CutsTextsToTheRoomThereIs)
{
    auto long_one = record();
    long_one.route = std::string(1000, 'r');
    long_one.model = std::string("nul\0", 4) + std::string(10'000, 'm');
    {
        const auto journal = open();
        const auto slot = journal->occupy(long_one);
        journal->note_backend(*slot, std::string(300, 'b'));
    }
    const auto journal = open();
    ASSERT_THAT(journal->left_over(), SizeIs(1));
    const auto& found = journal->left_over()[0].record;
    EXPECT_EQ(found.route, std::string(23, 'r'));
    EXPECT_EQ(found.model, long_one.model.substr(0, 63));
    EXPECT_EQ(found.backend, std::string(31, 'b'));
    EXPECT_EQ(found.request, long_one.request);
    EXPECT_EQ(found.cost, long_one.cost);
}

TEST_F(Journal, RefusesWhenAllSlotsAreTakenAndGrowsWithItsFile)
{
    {
        const auto journal = open(64);
        for (int i = 0; i < 64; ++i) {
            ASSERT_TRUE(journal->occupy(record()));
        }
        const auto refused = journal->occupy(record());
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().errc(), Errc::overloaded);
        journal->free(17);
        EXPECT_EQ(*journal->occupy(record()), 17U);
    }
    const auto grown = open(128);
    EXPECT_THAT(grown->left_over(), SizeIs(64));
    EXPECT_EQ(grown->slots(), 128U);
    EXPECT_TRUE(grown->occupy(record()));
    EXPECT_EQ(open(64)->slots(), 128U) << "a smaller number gives up no slot";
}

TEST_F(Journal, GivesASlotToOneThreadOnly)
{
    const auto journal = open(256);
    constexpr int kThreads = 4;
    std::atomic<int> taken_twice{0};
    std::array<std::atomic<bool>, 256> owned{};
    std::vector<std::thread> threads;
    const auto wanted = record();
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int round = 0; round < 300; ++round) {
                std::vector<ReservationJournal::Slot> mine;
                for (int i = 0; i < 60; ++i) {
                    const auto slot = journal->occupy(wanted);
                    if (slot) {
                        taken_twice += owned[*slot].exchange(true) ? 1 : 0;
                        mine.push_back(*slot);
                    }
                }
                for (const auto slot : mine) {
                    owned[slot] = false;
                    journal->free(slot);
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(taken_twice, 0);
    EXPECT_EQ(journal->occupied(), 0U);
}

TEST_F(Journal, SyncsAnySlots)
{
    const auto journal = open(1024);
    const std::vector<ReservationJournal::Slot> slots{1000, 3, 500};
    EXPECT_TRUE(journal->sync(slots));
    EXPECT_TRUE(journal->sync({}));
}

TEST_F(Journal, RefusesAFileThatIsNone)
{
    llmproxy::test::write_file(path_, std::string(8192, 'x'));
    const auto refused = ReservationJournal::open(path_, 64);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::store_unavailable);
    EXPECT_EQ(llmproxy::test::read_file(path_), std::string(8192, 'x')) << "left as it was";
    EXPECT_FALSE(ReservationJournal::count(path_));
    EXPECT_EQ(*ReservationJournal::count(folder_.file("none")), 0U);
}

TEST_F(Journal, SurvivesAnyBytesInItsSlots)
{
    static_cast<void>(open(64));
    auto bytes = llmproxy::test::read_file(path_);
    for (std::size_t i = 4096; i < bytes.size(); ++i) {
        bytes[i] = static_cast<char>(i * 2654435761U >> 13U);
    }
    for (std::size_t slot = 0; slot < 64; ++slot) {
        bytes[4096 + slot * 256] = static_cast<char>(slot % 4);
        bytes[4096 + slot * 256 + 1] = bytes[4096 + slot * 256 + 2] = bytes[4096 + slot * 256 + 3] =
            0;
    }
    llmproxy::test::write_file(path_, bytes);
    const auto journal = open(64);
    EXPECT_THAT(journal->left_over(), SizeIs(32));
    for (const auto& found : journal->left_over()) {
        EXPECT_LE(found.record.model.size(), 63U);
        journal->free(found.slot);
    }
    EXPECT_EQ(journal->occupied(), 0U);
}

}  // namespace
}  // namespace llmproxy::storage
