#include "storage/lock_file.hpp"

#include "support/temp_dir.hpp"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

namespace llmproxy::storage {
namespace {

TEST(LockFile, IsHeldByOneAtATime)
{
    const llmproxy::test::TempDir folder;
    const auto path = folder.file("store.db");
    {
        const auto first = LockFile::take(path);
        ASSERT_TRUE(first);
        const auto second = LockFile::take(path);
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().errc(), core::Errc::conflict);
        EXPECT_THAT(second.error().detail(), testing::HasSubstr(std::to_string(::getpid())));
    }
    EXPECT_TRUE(LockFile::take(path));
}

TEST(LockFile, IsFreeOnceItsHolderWasKilled)
{
    const llmproxy::test::TempDir folder;
    const auto path = folder.file("store.db");
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const auto child = ::fork();
    if (child == 0) {
        const auto held = LockFile::take(path);
        const char word = held ? 'y' : 'n';
        static_cast<void>(::write(ready[1], &word, 1));
        ::pause();
        ::_exit(0);
    }
    char word = 0;
    ASSERT_EQ(::read(ready[0], &word, 1), 1);
    EXPECT_EQ(word, 'y');
    EXPECT_FALSE(LockFile::take(path));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(LockFile::take(path));
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST(LockFile, NeedsAFolder)
{
    const auto refused = LockFile::take("/no/such/folder/store.db");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), core::Errc::store_unavailable);
}

}  // namespace
}  // namespace llmproxy::storage
