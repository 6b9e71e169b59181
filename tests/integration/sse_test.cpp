// Event streams come out as they went in, each piece as soon as it comes.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>
#include <random>

using namespace llmproxy::test;

namespace {

const std::string kDone = "data: [DONE]\n\n";

/// Streamed chat that asks for usage itself, so that the proxy has no reason to add or hide anything.
std::string plain_stream(std::string_view more_fields = {})
{
    return post_json(
        "/v1/chat/completions",
        R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]})",
        more_fields);
}

/// Event streams as upstreams and fuzzers write them; the same for the same seed.
class StreamMaker {
public:
    explicit StreamMaker(unsigned seed) : random_(seed) {}

    std::string make()
    {
        static const std::vector<std::string> kEnds{"\n", "\r\n", "\r"};
        static const std::vector<std::string> kTexts{"x",
                                                     "h\xc3\xa9llo",
                                                     "\xe6\x97\xa5\xe6\x9c\xac",
                                                     "\xf0\x9f\x99\x82",
                                                     "\\u00e9",
                                                     "a: b",
                                                     "",
                                                     " "};
        std::string out = pick(8) == 0 ? "\xef\xbb\xbf" : "";
        const auto events = 1 + pick(20);
        for (unsigned i = 0; i < events; ++i) {
            const auto& end = kEnds[pick(3)];
            switch (pick(6)) {
            case 0: out += ": comment " + kTexts[pick(8)] + end + (pick(2) == 0 ? end : ""); break;
            case 1:
                out += "event: e" + std::to_string(i) + end + "id:" + std::to_string(i) + end;
                [[fallthrough]];
            default: {
                const auto lines = 1 + pick(3);
                for (unsigned line = 0; line < lines; ++line) {
                    out += pick(2) == 0 ? "data: " : "data:";
                    const auto words = pick(30);
                    for (unsigned word = 0; word < words; ++word) {
                        out += kTexts[pick(8)];
                    }
                    out += end;
                }
                out += end;
            }
            }
        }
        if (pick(20) == 0) {
            out += "data: " + std::string(1U << 20, 'M') + "\n\n";
        }
        return out + kDone;
    }

    unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }

private:
    std::mt19937 random_;
};

class Sse : public testing::Test {
protected:
    FakeBackend backend;
    ProxyUnderTest proxy{GatewayConfig(backend.url())};

    /// The backend sends each piece when the gate is opened once more.
    void send_gated(Gate& gate, const std::vector<std::string>& pieces)
    {
        backend.next([&gate, pieces](Exchange& exchange) {
            exchange.begin_sse();
            for (const auto& piece : pieces) {
                if (!exchange.wait(gate) || !exchange.piece(piece)) {
                    return;
                }
            }
            if (exchange.wait(gate)) {
                exchange.last();
            }
        });
    }

    void expect_each_before_the_next(const std::string& request,
                                     const std::vector<std::string>& pieces)
    {
        Gate gate;
        send_gated(gate, pieces);
        auto client = proxy.connect();
        client.send(request);
        auto reply = client.head();
        EXPECT_EQ(reply.status, 200);
        EXPECT_TRUE(reply.chunked);
        for (const auto& piece : pieces) {
            EXPECT_EQ(client.buffer(), "");
            gate.open();
            EXPECT_EQ(client.piece(reply), piece);
        }
        gate.open();
        EXPECT_FALSE(client.piece(reply));
        EXPECT_TRUE(reply.complete());
    }
};

}  // namespace

TEST_F(Sse, RandomStreamsAreByteIdentical)
{
    auto client = proxy.connect();
    for (unsigned seed = 1; seed <= 200; ++seed) {
        StreamMaker maker(seed);
        const auto stream = maker.make();
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < stream.size();) {
            const auto most = stream.size() > 100'000 ? 200'000U : 60U;
            const auto size = std::min<std::size_t>(1 + maker.pick(most), stream.size() - at);
            pieces.push_back(stream.substr(at, size));
            at += size;
        }
        backend.next([pieces](Exchange& exchange) {
            exchange.begin_sse();
            for (const auto& piece : pieces) {
                exchange.piece(piece);
            }
            exchange.last();
        });
        const auto reply = client.ask(plain_stream());
        ASSERT_TRUE(reply.complete()) << "seed " << seed << " end " << static_cast<int>(reply.end);
        ASSERT_TRUE(reply.body == stream) << "seed " << seed;
        ASSERT_EQ(reply.head["content-type"], "text/event-stream");
    }
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(Sse, ForwardsEachEventBeforeTheNextArrives)
{
    std::vector<std::string> pieces;
    for (int i = 0; i < 30; ++i) {
        pieces.push_back("data: {\"choices\":[{\"delta\":{\"content\":\"" + std::to_string(i) +
                         "\"}}]}\n\n");
    }
    pieces.push_back(kDone);
    expect_each_before_the_next(plain_stream(), pieces);
}

TEST_F(Sse, ForwardsEventsAtOnceWithUsageInjected)
{
    std::vector<std::string> pieces;
    for (int i = 0; i < 10; ++i) {
        pieces.push_back("data: {\"choices\":[{\"delta\":{\"content\":\"" + std::to_string(i) +
                         "\"}}]}\n\n");
    }
    pieces.push_back(kDone);
    expect_each_before_the_next(chat("m", true), pieces);
}

TEST_F(Sse, ForwardsPiecesThatSplitLinesAndCharacters)
{
    expect_each_before_the_next(plain_stream(), {"d", "ata: \xf0\x9f", "\x99", "\x82\r", "\n",
                                                 "\r\n: ping\n", "\n", "data: [DO", "NE]\n", "\n"});
}

TEST_F(Sse, ForwardsEventsOfTheResponsesApi)
{
    expect_each_before_the_next(
        post_json("/v1/responses", R"({"model":"m","stream":true,"input":"x"})"),
        {"event: response.created\ndata: {\"type\":\"response.created\"}\n\n",
         "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n",
         "event: response.completed\ndata: "
         "{\"type\":\"response.completed\",\"response\":{\"usage\":"
         "{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}}\n\n"});
    const auto line = proxy.access_line_where("path", "/v1/responses");
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["input_tokens"], 3);
    EXPECT_EQ(line["output_tokens"], 4);
    EXPECT_EQ(line["stream"], true);
}

TEST_F(Sse, SendsTheHeadBeforeTheFirstEvent)
{
    Gate gate;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.wait(gate);
        exchange.piece(kDone);
        exchange.last();
    });
    auto client = proxy.connect();
    client.send(plain_stream());
    auto reply = client.head();
    EXPECT_EQ(reply.status, 200);
    gate.open();
    client.finish(reply);
    EXPECT_TRUE(reply.complete());
}

TEST_F(Sse, HoldsALargeEventTogether)
{
    const auto big = "data: " + std::string(1U << 20, 'x') + "\n\n";
    backend.next([big](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece(big);
        exchange.piece(kDone);
        exchange.last();
    });
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_TRUE(reply.complete());
    EXPECT_TRUE(reply.body == big + kDone) << reply.body.size();
}

TEST_F(Sse, ServesHttp10ClientsUntilTheEnd)
{
    backend.next([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.piece(kDone);
        exchange.last();
    });
    auto client = proxy.connect();
    const auto body = chat_body("m", true);
    client.send("POST /v1/chat/completions HTTP/1.0\r\nHost: a\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    const auto reply = client.response();
    EXPECT_FALSE(reply.chunked);
    EXPECT_EQ(reply.body, "data: 1\n\n" + kDone);
    EXPECT_EQ(reply.end, BodyEnd::closed);
}

TEST_F(Sse, KeepsBackpressure)
{
    // The upstream may run ahead of a client that reads nothing by no more than what sockets hold.
    std::atomic<std::size_t> sent{0};
    const auto piece = "data: " + std::string(65'528, 'x') + "\n\n";
    Gate blocked;
    backend.next([&sent, &blocked, piece](Exchange& exchange) {
        exchange.begin_sse();
        bool told = false;
        auto wire = as_chunk(piece);
        for (int i = 0; i < 2000; ++i) {
            std::string_view rest = wire;
            while (!rest.empty()) {
                const auto count = exchange.wire().send_now(rest);
                if (count < 0) {
                    return;
                }
                if (count == 0) {
                    if (!told) {
                        blocked.open();
                        told = true;
                    }
                    if (!exchange.raw(rest)) {
                        return;
                    }
                    break;
                }
                rest.remove_prefix(static_cast<std::size_t>(count));
            }
            sent += piece.size();
        }
        exchange.last();
    });
    auto client = proxy.connect();
    client.send(plain_stream());
    ASSERT_TRUE(blocked.wait()) << "all 128 MB were taken although nobody read them";
    EXPECT_LT(sent.load(), std::size_t{64} << 20);
    auto reply = client.head();
    std::size_t got = 0;
    while (const auto chunk = client.piece(reply)) {
        got += chunk->size();
        reply.chunks.clear();
        reply.body.clear();
    }
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(got, 2000 * piece.size());
}
