// Streams that use more than was reserved for them.

#include "accounts_support.hpp"

using namespace llmproxy::test;
using nlohmann::json;

namespace {

/// A backend that streams far more than it was asked for.
void stream_much(Exchange& exchange)
{
    exchange.begin_sse();
    for (int i = 0; i < 500 && exchange.piece(kStreamEvent); ++i) {}
    exchange.piece(kStreamLast + usage_event(20, 500) + kStreamDone);
    exchange.last();
}

std::string short_stream(const StoredToken& token, const std::string& more = {})
{
    return post_json("/v1/chat/completions",
                     R"({"model":"gpt-4o","stream":true,"max_tokens":3,"messages":[])" + more + "}",
                     token.line());
}

const std::string kAsksForUsage = R"(,"stream_options":{"include_usage":true})";

class Strict : public WithAccounts {
protected:
    Strict() : WithAccounts({{"budget", "{ enforce: strict }"}}) { backend.always(stream_much); }
};

class Hard : public WithAccounts {
protected:
    Hard() { backend.always(stream_much); }
};

void give_budget(const ManageApi& api, const StoredToken& token)
{
    ASSERT_EQ(
        api.put(token.path() + "/budgets", R"({"budgets":[{"period":"day","tokens":100000}]})")
            .status,
        200);
}

}  // namespace

TEST_F(Strict, CutsAStreamThatUsesMoreThanWasReserved)
{
    for (const auto& more : {std::string(), kAsksForUsage}) {
        const auto token = make_token(api);
        give_budget(api, token);
        const auto begun = std::make_shared<Gate>();
        backend.next([begun](Exchange& exchange) {
            exchange.begin_sse();
            exchange.piece(kStreamEvent);
            exchange.wait(*begun);
            // No piece ends where an event does.
            std::string events;
            for (int i = 0; i < 400; ++i) {
                events += kStreamEvent;
            }
            const auto size = kStreamEvent.size() * 3 / 2 + 1;
            for (std::size_t at = 0; at < events.size(); at += size) {
                if (!exchange.piece(std::string_view(events).substr(at, size))) {
                    break;
                }
            }
            exchange.stall();
        });
        auto client = proxy.connect();
        client.send(short_stream(token, more));
        auto reply = client.head();
        EXPECT_EQ(reply.status, 200);
        EXPECT_TRUE(client.piece(reply));
        begun->open();
        client.finish(reply);
        EXPECT_TRUE(reply.cut());
        EXPECT_FALSE(has_text(reply.body, "[DONE]"));
        const auto last = reply.body.rfind("data: ");
        ASSERT_NE(last, std::string::npos);
        const auto event = json::parse(reply.body.substr(last + 6), nullptr, false);
        ASSERT_TRUE(event.is_object()) << reply.body.substr(last);
        EXPECT_EQ(event["error"]["code"], "insufficient_quota");
        std::string whole;
        while (whole.size() < last) {
            whole += kStreamEvent;
        }
        EXPECT_EQ(reply.body.substr(0, last), whole) << "the cut is between two events";
        ASSERT_TRUE(proxy.access_line(reply).is_object());
        const auto rows = usage_of(api, token);
        ASSERT_EQ(rows.size(), 1U);
        EXPECT_EQ(rows[0]["outcome"], "insufficient_quota");
        EXPECT_EQ(rows[0]["estimated"], true);
        EXPECT_GT(rows[0]["completion_tokens"], 3);
        const auto spent = api.read(token.path() + "/spend")["data"][0]["tokens"];
        EXPECT_EQ(spent,
                  rows[0]["prompt_tokens"].get<int>() + rows[0]["completion_tokens"].get<int>());
    }
}

TEST_F(Strict, LeavesTokensWithoutABudgetAlone)
{
    const auto token = make_token(api);
    EXPECT_TRUE(proxy.ask(short_stream(token)).complete());
}

TEST_F(Hard, LetsAStreamEndAndCountsAllOfIt)
{
    const auto token = make_token(api);
    give_budget(api, token);
    EXPECT_TRUE(proxy.ask(short_stream(token)).complete());
    EXPECT_EQ(api.read(token.path() + "/spend")["data"][0]["tokens"], 520);
}
