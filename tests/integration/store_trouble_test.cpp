// A store that does not work while requests come and go: nothing is begun that could not be recorded, and what was under
// way is in the store once it works again.

#include "accounts_support.hpp"

#include <sqlite3.h>

using namespace llmproxy::test;
using nlohmann::json;

namespace {

/// Another program that keeps the database locked, until `release`.
class Intruder {
public:
    explicit Intruder(const std::string& path)
    {
        constexpr int kPatience = 30'000;
        if (sqlite3_open_v2(path.c_str(), &database_, SQLITE_OPEN_READWRITE, nullptr) !=
                SQLITE_OK ||
            sqlite3_busy_timeout(database_, kPatience) != SQLITE_OK ||
            sqlite3_exec(database_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) != SQLITE_OK) {
            throw std::runtime_error(sqlite3_errmsg(database_));
        }
    }
    Intruder(const Intruder&) = delete;
    Intruder& operator=(const Intruder&) = delete;
    ~Intruder() { release(); }

    void release()
    {
        sqlite3_close(database_);  // rolls back
        database_ = nullptr;
    }

private:
    sqlite3* database_ = nullptr;
};

std::size_t count_text(const std::string& text, std::string_view wanted)
{
    std::size_t count = 0;
    for (auto at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
        ++count;
    }
    return count;
}

const std::string kAsksForUsage = R"(,"stream_options":{"include_usage":true})";

std::string stream_request(const StoredToken& token, const std::string& more)
{
    return post_json("/v1/chat/completions",
                     R"({"model":"gpt-4o","stream":true,"messages":[])" + more + "}", token.line());
}

class StoreTrouble : public WithAccounts {
protected:
    [[nodiscard]] std::string store() const { return dir.file("store.db"); }

    void expect_refused(const Response& reply)
    {
        EXPECT_EQ(reply.status, 503) << reply.body;
        EXPECT_EQ(error_code(reply), "store_unavailable");
        EXPECT_EQ(reply.head["Retry-After"], "1");
    }

    /// Waits until requests pass again; each of those that do costs what `answer` tells.
    void wait_until_it_works(const StoredToken& token)
    {
        const auto until = std::chrono::steady_clock::now() + kGuard;
        while (proxy.ask(chat("gpt-4o", false, token.line())).status != 200) {
            ASSERT_LT(std::chrono::steady_clock::now(), until);
        }
    }

    /// A stream whose usage cannot be written when its end comes: in these pieces, after a first event.
    Response stream_into_trouble(const StoredToken& token, const std::vector<std::string>& pieces,
                                 const std::string& more = {})
    {
        const auto locked = std::make_shared<Gate>();
        backend.next([locked, pieces](Exchange& exchange) {
            exchange.begin_sse();
            exchange.piece(kStreamEvent);
            exchange.wait(*locked);
            for (const auto& piece : pieces) {
                exchange.piece(piece);
            }
            exchange.last();
        });
        auto client = proxy.connect();
        client.send(stream_request(token, more));
        auto reply = client.head();
        EXPECT_TRUE(client.piece(reply));
        Intruder intruder(store());
        locked->open();
        client.finish(reply);
        return reply;
    }
};

/// What a client saw before the error event that ended its stream.
std::string before_error(const Response& reply)
{
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.cut());
    const auto last = std::min(reply.body.rfind("data: "), reply.body.size());
    const auto event =
        json::parse(reply.body.substr(std::min(last + 6, reply.body.size())), nullptr, false);
    EXPECT_TRUE(event.is_object()) << reply.body.substr(last);
    if (event.is_object()) {
        EXPECT_EQ(event["error"]["code"], "store_unavailable");
    }
    return reply.body.substr(0, last);
}

}  // namespace

TEST_F(StoreTrouble, BeginsNothingUntilTheStoreWorksAgainAndLosesNothing)
{
    const auto token = make_token(api);
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
    auto tunnel = proxy.connect();
    ASSERT_EQ(open_tunnel(tunnel, origin.port(), token.line("Proxy-Authorization")).status, 200);
    tunnel.send("hello");
    ASSERT_TRUE(tunnel.read_until([](std::string_view seen) { return seen == "hello"; }));
    {
        Intruder intruder(store());
        expect_refused(proxy.ask(chat("gpt-4o", false, token.line())));
        const auto asked = backend.request_count();
        EXPECT_EQ(asked, 2U) << "its usage could not be written, so it was not answered";
        const auto reached = elsewhere.connection_count();
        expect_refused(proxy.ask(chat("gpt-4o", false, token.line())));
        expect_refused(proxy.ask(chat("gpt-4o", true, token.line())));
        expect_refused(proxy.ask(
            post_json("/v1/embeddings", R"({"model":"gpt-e","input":"x"})", token.line())));
        expect_refused(
            proxy.ask(absolute("GET", elsewhere.port(), "/", token.line("Proxy-Authorization"))));
        auto refused = proxy.connect();
        refused.send(connect_request(elsewhere.port(), token.line("Proxy-Authorization")));
        expect_refused(refused.response());
        EXPECT_EQ(backend.request_count(), asked);
        EXPECT_EQ(elsewhere.connection_count(), reached);
        EXPECT_EQ(api.read("/manage/store")["state"], "busy");
        tunnel.send("again");
        EXPECT_TRUE(tunnel.read_until([](std::string_view seen) { return seen == "helloagain"; }))
            << "what is under way goes on";
    }
    wait_until_it_works(token);
    tunnel.wire().close();
    ASSERT_TRUE(proxy.access_line_where("route", "connect").is_object());
    const auto log = proxy.diagnostics();
    EXPECT_EQ(count_text(log, "the store does not work"), 1U);
    EXPECT_EQ(count_text(log, "the store works again"), 1U);

    const auto rows = usage_of(api, token);
    std::size_t chats = 0;
    std::size_t tunnels = 0;
    for (const auto& row : rows) {
        EXPECT_NE(row["outcome"], "indeterminate") << row.dump();
        chats += row["route"] == "chat_completions" ? 1 : 0;
        tunnels += row["route"] == "connect" ? 1 : 0;
        if (row["route"] == "connect") {
            EXPECT_EQ(row["bytes_in"], 10);
        }
    }
    EXPECT_EQ(chats, backend.request_count()) << "each that was sent is there once";
    EXPECT_EQ(tunnels, 1U);
}

TEST_F(StoreTrouble, AStreamWhoseUsageCannotBeWrittenEndsWithTheErrorEvent)
{
    const auto token = make_token(api);
    const auto one = stream_into_trouble(token, {kStreamLast + usage_event(5, 6) + kStreamDone});
    EXPECT_EQ(before_error(one), kStreamEvent + kStreamLast);
    wait_until_it_works(token);

    const auto several = stream_into_trouble(
        token, {kStreamLast, usage_event(5, 6) + kStreamDone + ": more\n\n"}, kAsksForUsage);
    EXPECT_EQ(before_error(several), kStreamEvent + kStreamLast + usage_event(5, 6));
    wait_until_it_works(token);

    std::size_t streams = 0;
    for (const auto& row : usage_of(api, token)) {
        streams += row["stream"].get<bool>() ? 1 : 0;
        EXPECT_EQ(row["prompt_tokens"], 5);
        EXPECT_EQ(row["completion_tokens"], 6);
    }
    EXPECT_EQ(streams, 2U);
}

TEST_F(StoreTrouble, AStreamWithoutItsTerminalEventIsCutTheSameWay)
{
    const auto token = make_token(api);
    const auto reply = stream_into_trouble(token, {kStreamLast});
    EXPECT_EQ(before_error(reply), kStreamEvent + kStreamLast);
    wait_until_it_works(token);
}

TEST_F(StoreTrouble, ATerminalEventThatHasBegunIsNeverCompleted)
{
    const auto token = make_token(api);
    const auto half = kStreamDone.size() / 2;
    const auto first = std::make_shared<Gate>();
    const auto second = std::make_shared<Gate>();
    backend.next([first, second, half](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece(kStreamEvent);
        exchange.wait(*first);
        exchange.piece(kStreamLast + kStreamDone.substr(0, half));
        exchange.wait(*second);
        exchange.piece(kStreamDone.substr(half));
        exchange.last();
    });
    auto client = proxy.connect();
    client.send(stream_request(token, kAsksForUsage));
    auto reply = client.head();
    EXPECT_TRUE(client.piece(reply));
    const auto before = kStreamEvent + kStreamLast + kStreamDone.substr(0, half);
    {
        Intruder intruder(store());
        first->open();
        while (reply.body != before) {
            ASSERT_TRUE(client.piece(reply)) << reply.body;
        }
        second->open();
        client.finish(reply);
    }
    EXPECT_TRUE(reply.cut());
    EXPECT_EQ(reply.body, before);
    wait_until_it_works(token);
}
