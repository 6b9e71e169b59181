#include "llmproxy/telemetry/trace.hpp"

#include "llmproxy/telemetry/tracer.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace llmproxy::telemetry {
namespace {

const std::string kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string kSpan = "00f067aa0ba902b7";

std::string parent_of(const std::string& flags, const std::string& version = "00")
{
    return version + "-" + kTrace + "-" + kSpan + "-" + flags;
}

class Kept final : public TraceSink {
public:
    void take(const AccessRecord& record) noexcept override { taken.push_back(record); }
    std::vector<AccessRecord> taken;
};

TEST(TraceParent, ReadsWhatTheStandardSays)
{
    const auto parent = parse_traceparent(parent_of("01"));
    ASSERT_TRUE(parent);
    std::string text;
    append_hex(text, parent->trace);
    append_hex(text, parent->span);
    EXPECT_EQ(text, kTrace + kSpan);
    EXPECT_TRUE(parent->sampled);
    EXPECT_FALSE(parse_traceparent(parent_of("00"))->sampled);
    EXPECT_FALSE(parse_traceparent(parent_of("02"))->sampled);
    EXPECT_TRUE(parse_traceparent(parent_of("ff"))->sampled);
    // Of later versions what is known is read.
    EXPECT_TRUE(parse_traceparent(parent_of("01", "cc")));
    EXPECT_TRUE(parse_traceparent(parent_of("01", "01") + "-what-follows"));
}

TEST(TraceParent, RefusesEverythingElse)
{
    const auto zeros = [](std::size_t count) { return std::string(count, '0'); };
    for (const auto& bad : {
             std::string(),
             std::string("00"),
             parent_of("01").substr(0, 54),
             parent_of("01") + "-",
             parent_of("01") + "0",
             parent_of("01", "01") + "x",
             parent_of("01", "ff"),
             parent_of("01", "0X"),
             parent_of("0x"),
             parent_of("0A"),
             "00-" + zeros(32) + "-" + kSpan + "-01",
             "00-" + kTrace + "-" + zeros(16) + "-01",
             "00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kSpan + "-01",
             "00_" + kTrace + "-" + kSpan + "-01",
             "00-" + kTrace + "_" + kSpan + "-01",
             "00-" + kTrace + "-" + kSpan + "_01",
             "00-" + kTrace.substr(1) + "g-" + kSpan + "-01",
             " " + parent_of("01"),
         }) {
        EXPECT_FALSE(parse_traceparent(bad)) << bad;
    }
}

TEST(TraceState, IsAListOfKeysAndValues)
{
    std::string most = "k0=v";
    for (int i = 1; i < 32; ++i) {
        most += ",k" + std::to_string(i) + "=v";
    }
    for (const auto& good :
         {std::string("a=1"), std::string("rojo=00f0,congo=t6 1"), std::string("a=1 , ,b=2"),
          std::string("1tenant@system=x"), std::string("a_-*/=~!"), most}) {
        EXPECT_TRUE(is_tracestate(good)) << good;
    }
    for (const auto& bad :
         {std::string(), std::string(" "), std::string("a"), std::string("a="), std::string("=1"),
          std::string("A=1"), std::string("1=1"), std::string("a=b=c"), std::string("a@1b=x"),
          std::string("@b=x"), std::string("a@=x"), std::string("a b=1"), std::string("a=\x01"),
          "a=" + std::string(257, 'x'), std::string(257, 'a') + "=1", most + ",more=1"}) {
        EXPECT_FALSE(is_tracestate(bad)) << bad;
    }
}

TEST(Tracer, FollowsTheParentAndSamplesTheRestByTheirId)
{
    Kept kept;
    Tracer none(kept, 0.0);
    EXPECT_TRUE(none.begin(parent_of("01"), "a=1", {})->sampled);
    EXPECT_EQ(none.begin(parent_of("01"), "a=1", {})->state, "a=1");
    EXPECT_EQ(none.begin(parent_of("01"), "bad", {})->state, "");
    EXPECT_EQ(none.begin("bad", "a=1", {})->state, "");
    const Tracer all(kept, 1.0);
    EXPECT_FALSE(all.begin(parent_of("00"), "", {})->sampled);
    std::set<std::string> ids;
    int some = 0;
    const Tracer half(kept, 0.5);
    for (int i = 0; i < 1000; ++i) {
        EXPECT_FALSE(none.begin("", "", {})->sampled);
        EXPECT_TRUE(all.begin("", "", {})->sampled);
        const auto trace = half.begin("", "", {});
        ids.insert(trace->id_text());
        // The first bit of the second half decides, after the one that is not looked at.
        EXPECT_EQ(trace->sampled, trace->id[8] < 0x80);
        some += trace->sampled ? 1 : 0;
    }
    EXPECT_EQ(ids.size(), 1000U);
    EXPECT_GT(some, 300);
    EXPECT_LT(some, 700);
    none.set_ratio(1.0);
    EXPECT_TRUE(none.begin("", "", {})->sampled);
}

TEST(Tracer, GivesOnSampledRequestsButNotScrapesAndChecks)
{
    Kept kept;
    const Tracer tracer(kept, 1.0);
    AccessRecord record;
    for (const auto* route : {"chat_completions", "health", "metrics"}) {
        record.route = route;
        record.trace = tracer.begin("", "", {});
        tracer.finish(record);
    }
    record.trace = tracer.begin(parent_of("00"), "", {});
    record.route = "chat_completions";
    tracer.finish(record);
    record.trace.reset();
    tracer.finish(record);
    ASSERT_EQ(kept.taken.size(), 1U);
    EXPECT_EQ(kept.taken[0].route, "chat_completions");
}

TEST(Trace, GoesOnWithTheAttemptAsTheParent)
{
    Kept kept;
    const auto trace = Tracer(kept, 1.0).begin(parent_of("01"), "a=1", {});
    std::string request;
    append_hex(request, trace->span);
    EXPECT_NE(request, kSpan);
    std::string fields;
    trace->append_fields(fields);
    EXPECT_EQ(fields, "traceparent: 00-" + kTrace + "-" + request + "-01\r\ntracestate: a=1\r\n");
    std::string attempt;
    append_hex(attempt, trace->attempt().span);
    fields.clear();
    trace->append_fields(fields);
    EXPECT_EQ(fields, "traceparent: 00-" + kTrace + "-" + attempt + "-01\r\ntracestate: a=1\r\n");
    EXPECT_NE(attempt, request);
}

TEST(Trace, NotesPartsOnlyWhileItIsSampled)
{
    Kept kept;
    const auto trace = Tracer(kept, 1.0).begin("", "", {});
    {
        const PartTimer part(trace, "queue");
    }
    ASSERT_EQ(trace->parts.size(), 1U);
    EXPECT_EQ(trace->parts[0].name, "queue");
    EXPECT_GE(trace->parts[0].ended, trace->parts[0].began);
    trace->sampled = false;
    {
        const PartTimer part(trace, "queue");
        const PartTimer none(nullptr, "queue");
    }
    EXPECT_EQ(trace->parts.size(), 1U);
}

}  // namespace
}  // namespace llmproxy::telemetry
