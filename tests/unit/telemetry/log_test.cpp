#include "llmproxy/telemetry/log.hpp"

#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <limits>
#include <string>

namespace llmproxy::telemetry {
namespace {

using namespace std::chrono_literals;

/// Sends all modules' lines to a file while a test runs.
class LogTest : public ::testing::Test {
protected:
    void use(Level level, LogFormat format)
    {
        Settings settings;
        settings.level = level;
        settings.format = format;
        settings.path = path_;
        ASSERT_TRUE(configure(settings));
    }
    void TearDown() override { static_cast<void>(configure(Settings{})); }

    std::string line(std::size_t number)
    {
        flush_logs();
        const auto lines = test::read_lines(path_);
        return number < lines.size() ? lines[number] : "";
    }
    std::size_t count()
    {
        flush_logs();
        return test::read_lines(path_).size();
    }

    test::TempDir scratch_;
    std::string path_ = scratch_.file("daemon.log");
};

TEST_F(LogTest, WritesFieldsAsJsonWithTheirTypes)
{
    use(Level::info, LogFormat::json);
    const std::string text = "two";
    log("edge").info("req-1", "a message",
                     {{"one", "1"},
                      {"text", text},
                      {"number", -3},
                      {"big", ~0ULL},
                      {"real", 1.5},
                      {"flag", true},
                      {"took", 1500us},
                      {"nothing", std::numeric_limits<double>::infinity()}});
    EXPECT_EQ(
        line(0).substr(35),
        R"("level":"info","module":"edge","request_id":"req-1","message":"a message","one":"1",)"
        R"("text":"two","number":-3,"big":9223372036854775807,"real":1.5,"flag":true,"took":1.5,)"
        R"("nothing":null})");
}

TEST_F(LogTest, WritesTextWhenAsked)
{
    use(Level::info, LogFormat::text);
    log("pool").warn("", "closed", {{"backend", "open ai"}, {"idle", 3}});
    log("pool").error("r2", "failed");
    EXPECT_EQ(line(0).substr(25), R"(warn pool: closed backend="open ai" idle=3)");
    EXPECT_EQ(line(1).substr(25), R"(error pool: failed request_id="r2")");
}

TEST_F(LogTest, WritesNothingBelowItsLevel)
{
    use(Level::warn, LogFormat::json);
    EXPECT_FALSE(Log::enabled(Level::info));
    log("edge").info("", "quiet");
    log("edge").debug("", "quiet");
    log("edge").trace("", "quiet");
    log("edge").warn("", "loud");
    EXPECT_EQ(count(), 1U);
}

TEST_F(LogTest, NeverShowsASecret)
{
    use(Level::info, LogFormat::json);
    const core::Secret key("canary-4711");
    log("config").info("", "loaded", {{"api_key", key}, {"unset", core::Secret()}});
    EXPECT_NE(line(0).find(R"("api_key":"***","unset":"")"), std::string::npos);
    EXPECT_EQ(test::read_file(path_).find("canary"), std::string::npos);
}

TEST_F(LogTest, EscapesWhatComesFromOutside)
{
    for (const auto format : {LogFormat::json, LogFormat::text}) {
        use(Level::info, format);
        log("edge").info("a\nb", "c\r\nd", {{"value", "e\"\n\x1b[31m\xff"}});
    }
    EXPECT_EQ(count(), 2U);
    EXPECT_NE(line(0).find(R"("value":"e\"\n\u001b[31m)"), std::string::npos);
    EXPECT_NE(line(1).find(R"(c\r\nd request_id="a\nb" value="e\"\n\u001b[31m)"),
              std::string::npos);
}

TEST_F(LogTest, GivesTheSameLogForTheSameModule)
{
    EXPECT_EQ(&log("edge"), &log(std::string("edge")));
    EXPECT_NE(&log("edge"), &log("pool"));
}

TEST_F(LogTest, KeepsItsSinkWhenANewOneCannotBeOpened)
{
    use(Level::info, LogFormat::json);
    Settings broken;
    broken.path = "/nonexistent/daemon.log";
    broken.level = Level::error;
    EXPECT_FALSE(configure(broken));
    log("app").info("", "still here");
    EXPECT_EQ(count(), 1U);
}

TEST_F(LogTest, WritesToANewFileAfterARotation)
{
    use(Level::info, LogFormat::json);
    log("app").info("", "before");
    flush_logs();
    const auto rotated = scratch_.file("daemon.log.1");
    ASSERT_EQ(std::rename(path_.c_str(), rotated.c_str()), 0);
    ASSERT_TRUE(reopen_logs());
    log("app").info("", "after");
    EXPECT_EQ(count(), 1U);
    EXPECT_EQ(test::read_lines(rotated).size(), 1U);
}

}  // namespace
}  // namespace llmproxy::telemetry
