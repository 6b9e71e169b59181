#include "llmproxy/telemetry/access_log.hpp"

#include "support/temp_dir.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::telemetry {
namespace {

Settings::AccessLog to_file(const std::string& path, AccessFormat format = AccessFormat::json)
{
    Settings::AccessLog settings;
    settings.path = path;
    settings.format = format;
    return settings;
}

std::unique_ptr<AccessLog> open_log(const Settings::AccessLog& settings)
{
    auto result = AccessLog::open(settings);
    EXPECT_TRUE(result);
    return std::move(result).value();
}

AccessRecord numbered(int number, std::size_t padding = 0)
{
    AccessRecord record;
    record.request_id = "r" + std::to_string(number);
    record.path = "/" + std::string(padding, 'x');
    return record;
}

bool is_whole(const std::string& line)
{
    return line.starts_with("{\"time\":") && line.ends_with("}") &&
           line.find("{\"time\"", 1) == std::string::npos;
}

std::set<std::string> ids_in(const std::string& log)
{
    std::set<std::string> ids;
    const std::string key = "\"request_id\":\"";
    for (auto at = log.find(key); at != std::string::npos; at = log.find(key, at + 1)) {
        const auto begin = at + key.size();
        ids.insert(log.substr(begin, log.find('"', begin) - begin));
    }
    return ids;
}

/// The ids that are written of r0 to r9999, with what `change` makes of the records.
template <typename Change>
std::set<std::string> sampled(double share, Change change)
{
    test::TempDir scratch;
    auto settings = to_file(scratch.file("access.log"));
    settings.sample = share;
    auto log = open_log(settings);
    for (int i = 0; i < 10'000; ++i) {
        auto one = numbered(i);
        change(one);
        log->write(one);
    }
    log.reset();
    return ids_in(test::read_file(settings.path));
}

TEST(AccessLog, WritesAShareOfWhatIsFineByTheirIds)
{
    const auto fine = [](AccessRecord& one) { one.status = 200; };
    const auto fifth = sampled(0.2, fine);
    EXPECT_NEAR(static_cast<double>(fifth.size()), 2000.0, 200.0);
    EXPECT_EQ(sampled(0.2, fine), fifth);
    const auto third = sampled(0.3, fine);
    EXPECT_TRUE(std::includes(third.begin(), third.end(), fifth.begin(), fifth.end()));
    EXPECT_EQ(sampled(1, fine).size(), 10'000U);
    EXPECT_EQ(sampled(0, fine).size(), 0U);
}

TEST(AccessLog, WritesAllThatHadTroubleOrWasSlow)
{
    EXPECT_EQ(sampled(0, [](AccessRecord& one) { one.status = 404; }).size(), 10'000U);
    EXPECT_EQ(sampled(0, [](AccessRecord& one) { one.outcome = "client_gone"; }).size(), 10'000U);
    EXPECT_EQ(sampled(0, [](AccessRecord& one) { one.tries.resize(2); }).size(), 10'000U);
    EXPECT_EQ(sampled(0, [](AccessRecord& one) { one.slow = true; }).size(), 10'000U);
}

TEST(AccessLog, TakesANewShareWhileItRuns)
{
    test::TempDir scratch;
    auto log = open_log(to_file(scratch.file("access.log")));
    log->write(numbered(1));
    log->set_sample(0);
    log->write(numbered(2));
    log->set_sample(1);
    log->write(numbered(3));
    log.reset();
    EXPECT_EQ(ids_in(test::read_file(scratch.file("access.log"))),
              (std::set<std::string>{"r1", "r3"}));
}

TEST(AccessLog, WritesLinesOfEveryThreadOnceAndWhole)
{
    constexpr int kThreads = 4;
    constexpr int kLines = 5'000;
    test::TempDir scratch;
    const auto path = scratch.file("access.log");
    auto log = open_log(to_file(path));
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&log, t] {
            for (int i = 0; i < kLines; ++i) {
                log->write(numbered(t * kLines + i));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    log->flush();
    std::set<std::string> seen;
    for (const auto& line : test::read_lines(path)) {
        ASSERT_TRUE(is_whole(line)) << line;
        seen.insert(line.substr(line.find("request_id")));
    }
    EXPECT_EQ(seen.size() + log->dropped(), static_cast<std::size_t>(kThreads * kLines));
}

TEST(AccessLog, WritesWhatIsBufferedWhenStopped)
{
    test::TempDir scratch;
    const auto path = scratch.file("access.log");
    auto log = open_log(to_file(path, AccessFormat::envoy));
    log->write(numbered(7));
    log.reset();
    const auto lines = test::read_lines(path);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines[0].find("\"r7\""), std::string::npos);
}

TEST(AccessLog, KeepsItsLinesApartFromAnotherLogs)
{
    test::TempDir scratch;
    const auto first_path = scratch.file("first.log");
    const auto second_path = scratch.file("second.log");
    auto first = open_log(to_file(first_path));
    auto second = open_log(to_file(second_path));
    first->write(numbered(1));
    second->write(numbered(2));
    first.reset();
    first = open_log(to_file(first_path));
    first->write(numbered(3));
    first.reset();
    second.reset();
    EXPECT_EQ(test::read_lines(first_path).size(), 2U);
    EXPECT_EQ(test::read_lines(second_path).size(), 1U);
}

TEST(AccessLog, WritesToANewFileAfterARotation)
{
    test::TempDir scratch;
    const auto path = scratch.file("access.log");
    const auto rotated = scratch.file("access.log.1");
    auto log = open_log(to_file(path));
    log->write(numbered(1));
    log->flush();
    ASSERT_EQ(std::rename(path.c_str(), rotated.c_str()), 0);
    log->write(numbered(2));
    log->flush();
    log->reopen();
    log->flush();
    log->write(numbered(3));
    log->flush();
    EXPECT_EQ(test::read_lines(rotated).size(), 2U);
    EXPECT_EQ(test::read_lines(path).size(), 1U);
}

TEST(AccessLog, DropsAndCountsInsteadOfWaitingForASlowSink)
{
    test::TempDir scratch;
    const auto path = scratch.file("pipe");
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    auto log = open_log(to_file(path));
    constexpr int kLines = 4'000;  // of 2 KiB: more than the pipe and both buffers hold
    for (int i = 0; i < kLines; ++i) {
        log->write(numbered(i, 2'000));
    }
    EXPECT_GT(log->dropped(), 0U);

    std::string received;
    std::thread drain([&received, reader] {
        std::vector<char> piece(65536);
        ::fcntl(reader, F_SETFL, 0);
        for (;;) {
            const auto got = ::read(reader, piece.data(), piece.size());
            if (got <= 0) {
                return;
            }
            received.append(piece.data(), static_cast<std::size_t>(got));
        }
    });
    log->flush();
    const auto dropped = log->dropped();
    log.reset();
    drain.join();
    ::close(reader);
    EXPECT_EQ(static_cast<std::uint64_t>(std::count(received.begin(), received.end(), '\n')) +
                  dropped,
              static_cast<std::uint64_t>(kLines));
    EXPECT_TRUE(received.ends_with("}\n"));
}

TEST(AccessLog, SurvivesAReaderThatWentAway)
{
    test::TempDir scratch;
    const auto path = scratch.file("pipe");
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    const int first_reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    auto log = open_log(to_file(path));
    ::close(first_reader);
    log->write(numbered(1));
    log->flush();
    EXPECT_EQ(log->dropped(), 1U);

    const int second_reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    log->write(numbered(2));
    log->flush();
    char piece[4096];
    const auto got = ::read(second_reader, piece, sizeof piece);
    ASSERT_GT(got, 0);
    const std::string line(piece, static_cast<std::size_t>(got) - 1);
    EXPECT_TRUE(is_whole(line)) << line;
    EXPECT_EQ(log->dropped(), 1U);
    log.reset();
    ::close(second_reader);
}

TEST(AccessLog, CountsLinesThatTheDeviceRefuses)
{
    auto log = open_log(to_file("/dev/full"));
    log->write(numbered(1));
    log->write(numbered(2));
    log->flush();
    EXPECT_EQ(log->dropped(), 2U);
}

TEST(AccessLog, FailsToOpenAFileThatCannotBe)
{
    const auto result = AccessLog::open(to_file("/nonexistent/access.log"));
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().detail().find("/nonexistent/access.log"), std::string::npos);
}

TEST(AccessLog, DoesNothingWhenDisabled)
{
    test::TempDir scratch;
    auto settings = to_file(scratch.file("access.log"));
    settings.enabled = false;
    auto log = open_log(settings);
    log->write(numbered(1));
    log->reopen();
    log->flush();
    EXPECT_EQ(log->dropped(), 0U);
    EXPECT_TRUE(test::read_file(settings.path).empty());
}

}  // namespace
}  // namespace llmproxy::telemetry
