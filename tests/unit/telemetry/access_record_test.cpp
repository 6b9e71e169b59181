#include "llmproxy/telemetry/access_record.hpp"

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/telemetry/access_fields.hpp"
#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace llmproxy::telemetry {
namespace {

using namespace std::chrono_literals;

AccessRecord full_record()
{
    AccessRecord record;
    record.start = core::SystemTime(1'769'862'896'007ms);  // 2026-01-31T12:34:56.007Z
    record.request_id = "0190-abc";
    record.trace = std::make_shared<Trace>();
    record.trace->id.fill(0xab);
    record.client = "192.0.2.7";
    record.forwarded_for = "198.51.100.1";
    record.authority = "proxy:8888";
    record.user_agent = "curl/7.88";
    record.protocol = "HTTP/1.1";
    record.method = "POST";
    record.path = "/v1/chat/completions?api-version=canary";
    record.listener = "main";
    record.route = "chat_completions";
    record.model = "gpt-4o";
    record.project = "team";
    record.token = "alice";
    record.backend = "openai";
    record.upstream = "203.0.113.9:443";
    record.status = 502;
    record.outcome = "upstream_reset";
    record.error = "eof after 12 bytes";
    record.attempts = 2;
    record.tries.resize(2);
    record.tries[0] = {"first", 1, "rate_limit", 429, 0us, "closed", 700, 1500us};
    record.tries[1] = {"openai", 0, "upstream_reset", 0, 250us, "open", 701, 20us};
    record.bytes_in = 512;
    record.bytes_out = 90;
    record.stream = true;
    record.tunnel = "client_reset";
    record.usage = {true, 10, 20, 3, 4, 5, 6, 7};
    record.served_model = "gpt-4o-1";
    record.finish_reason = "stop";
    record.times = {1'234'567us, 200'001us, 45us, 0us, 300'000us};
    return record;
}

std::string json(const AccessRecord& record)
{
    std::string line;
    append_json_line(line, record);
    return line;
}

std::string envoy(const AccessRecord& record)
{
    std::string line;
    append_envoy_line(line, record);
    return line;
}

constexpr const char* kFullJson =
    R"({"time":"2026-01-31T12:34:56.007Z","request_id":"0190-abc",)"
    R"("trace_id":"abababababababababababababababab","client":"192.0.2.7",)"
    R"("forwarded_for":"198.51.100.1","listener":"main","method":"POST","authority":"proxy:8888",)"
    R"("path":"/v1/chat/completions","protocol":"HTTP/1.1","user_agent":"curl/7.88",)"
    R"("route":"chat_completions","model":"gpt-4o","served_model":"gpt-4o-1","project":"team","token":"alice","backend":"openai",)"
    R"("upstream":"203.0.113.9:443","status":502,"outcome":"upstream_reset",)"
    R"("error":"eof after 12 bytes","attempts":2,)"
    R"("tries":[{"backend":"first","key":1,"outcome":"rate_limit","status":429,"waited_ms":0.000,)"
    R"("circuit":"closed","bytes_sent":700,"duration_ms":1.500},)"
    R"({"backend":"openai","key":0,"outcome":"upstream_reset","waited_ms":0.250,"circuit":"open",)"
    R"("bytes_sent":701,"duration_ms":0.020}],"bytes_in":512,"bytes_out":90,"stream":true,)"
    R"("tunnel":"client_reset","input_tokens":10,"output_tokens":20,"cached_tokens":3,"reasoning_tokens":4,)"
    R"("cache_write_tokens":5,"audio_input_tokens":6,"audio_output_tokens":7,"finish_reason":"stop",)"
    R"("duration_ms":1234.567,"first_piece_ms":300.000,"upstream_first_byte_ms":200.001,"proxy_ms":0.045,"queue_ms":0.000})"
    "\n";

TEST(AccessRecord, WritesEveryFieldAsJson)
{
    EXPECT_EQ(json(full_record()), kFullJson);
}

TEST(AccessRecord, SaysWhatWasSlow)
{
    auto record = full_record();
    record.slow = true;
    EXPECT_TRUE(json(record).ends_with(R"(,"queue_ms":0.000,"slow":true})"
                                       "\n"));
    EXPECT_EQ(time_to_answer(record), 0us) << "a tunnel";
    record.tunnel = {};
    EXPECT_EQ(time_to_answer(record), 300'000us) << "a stream";
    record.times.first_piece = -1us;
    EXPECT_EQ(time_to_answer(record), 1'234'567us) << "a stream that never began";
    record.stream = false;
    record.times.first_piece = 300'000us;
    EXPECT_EQ(time_to_answer(record), 1'234'567us);
}

TEST(AccessRecord, IsDocumentedByItsCatalogue)
{
    const auto page = test::read_file(LLMPROXY_SOURCE_DIR "/docs/logging.md");
    EXPECT_NE(page.find(access_fields_markdown()), std::string::npos)
        << "write this into docs/logging.md:\n"
        << access_fields_markdown();
}

TEST(AccessRecord, HasAFieldInTheCatalogueForEachThatItWrites)
{
    auto record = full_record();
    record.slow = true;
    const auto line = json(record);
    std::size_t at = 0;
    for (const auto& info : access_fields()) {
        const auto found = line.find("\"" + std::string(info.name) + "\":", at);
        ASSERT_NE(found, std::string::npos) << info.name;
        EXPECT_EQ(found, at + 1) << "something else stands before " << info.name;
        at = info.type == AccessFieldType::tries ? line.find("],", found) + 1
                                                 : line.find(",\"", found);
    }
    EXPECT_EQ(at, std::string::npos) << "nothing follows";
}

TEST(AccessRecord, LeavesOutWhatDoesNotApply)
{
    AccessRecord record;
    record.start = core::SystemTime(1'700'000'000'000ms);
    EXPECT_EQ(
        json(record),
        R"({"time":"2023-11-14T22:13:20.000Z","status":0,"outcome":"ok","attempts":0,"bytes_in":0,)"
        R"("bytes_out":0,"stream":false,"duration_ms":0.000})"
        "\n");
}

TEST(AccessRecord, FollowsEnvoysDefaultFieldOrder)
{
    EXPECT_EQ(
        envoy(full_record()),
        R"([2026-01-31T12:34:56.007Z] "POST /v1/chat/completions HTTP/1.1" 502 UC 512 90 1234 200 )"
        R"("198.51.100.1" "curl/7.88" "0190-abc" "proxy:8888" "203.0.113.9:443")"
        "\n");
    AccessRecord empty;
    empty.start = core::SystemTime(1'700'000'000'000ms);
    EXPECT_EQ(envoy(empty), R"([2023-11-14T22:13:20.000Z] "- - -" 0 - 0 0 0 - "-" "-" "-" "-" "-")"
                            "\n");
}

TEST(AccessRecord, NeverLetsAClientStartALineOrEndAText)
{
    const std::string evil("a\r\nb\"c\\d\x01\x7f\xff\xc3(\0e", 15);
    AccessRecord record;
    record.request_id = record.client = record.forwarded_for = record.authority = evil;
    record.user_agent = record.method = record.path = record.model = record.error = evil;
    record.upstream = evil;
    const std::string escaped = "a\\r\\nb\\\"c\\\\d\\u0001\\u007f\xEF\xBF\xBD\xEF\xBF\xBD(\\u0000";
    for (const auto& line : {json(record), envoy(record)}) {
        EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
        EXPECT_TRUE(line.ends_with('\n'));
        EXPECT_TRUE(std::all_of(line.begin(), line.end() - 1, [](char c) {
            const auto byte = static_cast<unsigned char>(c);
            return byte >= 0x20 && byte != 0x7f && byte != 0xff;
        }));
        EXPECT_NE(line.find(escaped), std::string::npos) << line;
    }
}

TEST(AccessRecord, EscapesAtAnyPlaceOfTextsOfAnySize)
{
    for (std::size_t size = 1; size < 70; ++size) {
        for (std::size_t at = 0; at < size; ++at) {
            for (const std::string special : {"\"", "\\", "\n", "\x7f", "\xff", "\x1f", "~", " "}) {
                AccessRecord record;
                record.model = std::string(size, 'm');
                record.model.replace(at, 1, special);
                std::string escaped;
                core::append_json_escaped(escaped, record.model);
                ASSERT_NE(json(record).find("\"model\":\"" + escaped + "\",\"status\""),
                          std::string::npos)
                    << json(record);
            }
        }
    }
}

TEST(AccessRecord, WritesLongLinesWhole)
{
    auto record = full_record();
    const auto one = record.tries[1];
    record.tries[1].backend = std::string(400, 'b');
    const auto with_two = json(record);
    for (int i = 0; i < 50; ++i) {
        record.tries.insert(record.tries.begin() + 1, one);
    }
    const std::string text =
        R"({"backend":"openai","key":0,"outcome":"upstream_reset","waited_ms":0.250,"circuit":"open",)"
        R"("bytes_sent":701,"duration_ms":0.020},)";
    auto expected = with_two;
    const auto place = expected.find(R"({"backend":"bbb)");
    ASSERT_NE(place, std::string::npos);
    for (int i = 0; i < 50; ++i) {
        expected.insert(place, text);
    }
    EXPECT_EQ(json(record), expected);
    std::string behind = "before\n";
    append_json_line(behind, record);
    EXPECT_EQ(behind, "before\n" + expected);
}

TEST(AccessRecord, LeavesOutQueryAndFragment)
{
    AccessRecord record;
    for (const std::string path : {"/a?b#c", "/a#c?b", "/a?", "/a#", "/a"}) {
        record.path = path;
        EXPECT_NE(json(record).find(R"("path":"/a",)"), std::string::npos) << path;
    }
}

TEST(AccessRecord, KeepsWellFormedUtf8)
{
    AccessRecord record;
    record.model = "modèle-日本-🙂";
    EXPECT_NE(json(record).find("\"model\":\"modèle-日本-🙂\""), std::string::npos);
}

TEST(AccessRecord, BoundsWhatAClientCanMakeItWrite)
{
    AccessRecord record;
    record.path = "/" + std::string(100'000, 'p');
    record.user_agent = std::string(100'000, 'u');
    EXPECT_NE(json(record).find("\"path\":\"/" + std::string(2047, 'p') + "\""), std::string::npos);
    EXPECT_LT(json(record).size(), 3'000U);
    EXPECT_LT(envoy(record).size(), 3'000U);
}

TEST(AccessRecord, TakesTheTimeOfEachLine)
{
    AccessRecord record;
    record.start = core::SystemTime(951'782'400'999ms);  // a leap day
    EXPECT_TRUE(json(record).starts_with(R"({"time":"2000-02-29T00:00:00.999Z")"));
    record.start += 1ms;
    EXPECT_TRUE(json(record).starts_with(R"({"time":"2000-02-29T00:00:01.000Z")"));
}

TEST(AccessRecord, HasEnvoysWordForOutcomes)
{
    const auto flags = [](core::Errc errc) {
        return envoy_response_flags(core::error_info(errc).code);
    };
    EXPECT_EQ(flags(core::Errc::none), "-");
    EXPECT_EQ(flags(core::Errc::upstream_connect_failed), "UF");
    EXPECT_EQ(flags(core::Errc::upstream_reset), "UC");
    EXPECT_EQ(flags(core::Errc::upstream_timeout), "UT");
    EXPECT_EQ(flags(core::Errc::circuit_open), "UH");
    EXPECT_EQ(flags(core::Errc::overloaded), "UO");
    EXPECT_EQ(flags(core::Errc::client_gone), "DC");
    EXPECT_EQ(flags(core::Errc::not_found), "NR");
    EXPECT_EQ(flags(core::Errc::internal), "LR");
    EXPECT_EQ(flags(core::Errc::request_too_large), "-");
}

}  // namespace
}  // namespace llmproxy::telemetry
