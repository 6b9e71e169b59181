#include "llmproxy/telemetry/body_log.hpp"

#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace llmproxy::telemetry {
namespace {

std::string hidden(std::string text)
{
    hide_credentials(text);
    return text;
}

/// The line of one request with these bodies.
std::string line_of(std::string_view request, std::string_view reply, std::size_t most,
                    const std::string& secret = {})
{
    test::TempDir scratch;
    Settings::Bodies settings;
    settings.enabled = true;
    settings.path = scratch.file("bodies.log");
    auto log = std::move(BodyLog::open(settings)).value();
    LoggedBodies bodies(most);
    bodies.add_request(request);
    for (const char c : reply) {  // as streams come
        const std::array<std::string_view, 1> piece{std::string_view(&c, 1)};
        bodies.add_reply(piece);
    }
    bodies.hide(core::Secret(secret));
    AccessRecord record;
    record.request_id = "r1";
    record.status = 200;
    log->write(record, bodies);
    log->flush();
    return test::read_file(settings.path);
}

TEST(HideCredentials, MasksKeysByTheirForm)
{
    EXPECT_EQ(hidden("my key is sk-abcdefgh1234 ok"), "my key is *** ok");
    EXPECT_EQ(hidden(R"({"content":"sk-proj-abcdefgh1234"})"), R"({"content":"***"})");
    EXPECT_EQ(hidden("Authorization: Bearer abc.def-123456"), "Authorization: ***");
    EXPECT_EQ(hidden("llmp_0123456789abcdef, ghp_0123456789abcdef"), "***, ***");
    EXPECT_EQ(hidden("key=AKIA0123456789AB&x=1"), "key=***&x=1");
}

TEST(HideCredentials, MasksMembersByTheirName)
{
    EXPECT_EQ(hidden(R"({"api_key": "x", "b":1})"), R"({"api_key": "***", "b":1})");
    EXPECT_EQ(hidden(R"({"arguments":"{\"password\":\"hunter2\"}"})"),
              R"({"arguments":"{\"password\":\"***\"}"})");
    EXPECT_EQ(hidden(R"({"Secret":"cut off in the mid)"), R"({"Secret":"***)");
}

TEST(HideCredentials, LeavesEverythingElse)
{
    for (const auto* text :
         {"", "task-oriented-programming is fine", "sk-short", "\"password\" is a word",
          R"({"max_tokens":"12","passwords":["a"]})", "disk-abcdefghijkl"}) {
        EXPECT_EQ(hidden(text), text);
    }
}

TEST(BodyLog, WritesTheBeginningsAsOneLine)
{
    const auto line = line_of("{\"model\":\"m\"}\n", "data: 1\n\ndata: 2\n\n", 9);
    EXPECT_TRUE(line.ends_with(
        R"("request_id":"r1","route":"","model":"","backend":"","status":200,)"
        R"("request":"{\"model\":","request_bytes":14,"reply":"data: 1\n\n","reply_bytes":18})"
        "\n"))
        << line;
}

TEST(BodyLog, NeverShowsAKnownSecretNorItsBeginning)
{
    const std::string secret = "an-unusual-credential-0123456789";
    const auto line = line_of("{\"a\":\"" + secret + "\"}", "xxx" + secret, 10, secret);
    EXPECT_EQ(line.find("an-un"), std::string::npos) << line;
    EXPECT_NE(line.find(R"("request":"{\"a\":\"***\"")"), std::string::npos) << line;
}

TEST(BodyLog, KeepsABoundedPartInMemoryAndCountsAll)
{
    const auto line = line_of(std::string(1'000'000, 'q'), std::string(100'000, 'a'), 16);
    EXPECT_LT(line.size(), 300U);
    EXPECT_NE(line.find(R"("request_bytes":1000000)"), std::string::npos);
    EXPECT_NE(line.find(R"("reply_bytes":100000)"), std::string::npos);
}

TEST(BodyLog, WritesNothingWhenOff)
{
    const auto log = std::move(BodyLog::open(Settings::Bodies())).value();
    log->write(AccessRecord(), LoggedBodies(10));
    log->flush();
    log->reopen();
    EXPECT_EQ(log->dropped(), 0U);
}

}  // namespace
}  // namespace llmproxy::telemetry
