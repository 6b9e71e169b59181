#include "llmproxy/net/pipe_pool.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

using llmproxy::net::Pipe;
using llmproxy::net::PipePool;

TEST(PipePool, LendsBigPipesAndTakesThemBack)
{
    PipePool pool(2, 1);
    int first = -1;
    {
        const auto pipe = pool.borrow();
        ASSERT_TRUE(pipe);
        first = pipe.in();
        EXPECT_GE(::fcntl(pipe.in(), F_GETPIPE_SZ), static_cast<int>(PipePool::kBytes));
        EXPECT_EQ(pool.size(), 1U);
    }
    EXPECT_EQ(pool.size(), 1U);
    const auto again = pool.borrow();
    EXPECT_EQ(again.in(), first);
}

TEST(PipePool, LendsNoMoreThanItsBound)
{
    PipePool pool(2, 2);
    auto first = pool.borrow();
    const auto second = pool.borrow();
    EXPECT_TRUE(first);
    EXPECT_TRUE(second);
    EXPECT_FALSE(pool.borrow());
    first = Pipe();
    EXPECT_TRUE(pool.borrow());
}

TEST(PipePool, ClosesAPipeThatStillHoldsBytes)
{
    PipePool pool(2, 2);
    {
        auto pipe = pool.borrow();
        ASSERT_EQ(::write(pipe.in(), "x", 1), 1);
        pipe.held = 1;
    }
    EXPECT_EQ(pool.size(), 0U);
}

TEST(PipePool, KeepsSoManyAtMost)
{
    PipePool pool(3, 1);
    {
        const auto first = pool.borrow();
        const auto second = pool.borrow();
        EXPECT_EQ(pool.size(), 2U);
    }
    EXPECT_EQ(pool.size(), 1U);
}

TEST(PipePool, MovesWithItsBytes)
{
    PipePool pool(1, 1);
    auto pipe = pool.borrow();
    pipe.held = 7;
    auto moved = std::move(pipe);
    EXPECT_TRUE(moved);
    EXPECT_EQ(moved.held, 7U);
    moved.held = 0;
    moved = Pipe();
    EXPECT_EQ(pool.size(), 1U);
}
