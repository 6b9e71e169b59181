#include "telemetry/cells.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace llmproxy::telemetry {
namespace {

TEST(Cells, AddsUpWhatThreadsCounted)
{
    constexpr std::uint64_t kEach = 10'000;
    Cells cells;
    const auto first = cells.reserve(1);
    const auto second = cells.reserve(1);
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; ++i) {  // more than there are copies
        threads.emplace_back([&] {
            for (std::uint64_t n = 0; n < kEach; ++n) {
                cells.add(first);
                cells.add(second, 3);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(cells.sum(first), 20 * kEach);
    EXPECT_EQ(cells.sum(second), 60 * kEach);
}

TEST(Cells, TakesAwayOnAnotherThread)
{
    Cells cells;
    const auto index = cells.reserve(1);
    cells.add(index, 2);
    std::thread([&] { cells.add(index, ~std::uint64_t{0}); }).join();
    EXPECT_EQ(cells.sum(index), 1U);
}

TEST(Cells, KeepsASeriesTogetherAndStaysInItsLimits)
{
    Cells cells;
    std::size_t reserved = 0;
    Cells::Index last = 0;
    for (;;) {
        const auto index = cells.reserve(300);  // two of these do not fit into one block
        if (index == Cells::kNone) {
            break;
        }
        EXPECT_EQ(index % 512, 0U);
        last = index;
        ++reserved;
    }
    EXPECT_EQ(reserved, 512U);
    cells.add(last + 299, 7);
    EXPECT_EQ(cells.sum(last + 299), 7U);
    cells.add(Cells::kNone, 7);
    EXPECT_EQ(cells.sum(Cells::kNone), 0U);
}

}  // namespace
}  // namespace llmproxy::telemetry
