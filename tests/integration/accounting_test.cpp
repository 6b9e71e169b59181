// Many requests of all sorts, and what the store says of them against what the upstreams themselves counted.

#include "accounts_support.hpp"
#include "support/crowd.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

using namespace llmproxy::test;
using nlohmann::json;

namespace {

constexpr std::size_t kClients = 8;
constexpr std::size_t kEach = 60;

/// What a backend did, by its own count.
struct Told {
    std::atomic<std::int64_t> attempts{0};
    std::atomic<std::int64_t> replies{0};  ///< that told usage
    std::atomic<std::int64_t> prompt{0};
    std::atomic<std::int64_t> completion{0};
};

enum class Sort : std::uint8_t {
    plain,
    stream,
    stream_with_usage,
    embedding,
    refused_once,   ///< one backend answers 500
    dropped_once,   ///< one backend closes without an answer
    stream_failed,  ///< one backend's stream begins with an error
    left            ///< the client goes away in mid-stream
};
constexpr std::size_t kSorts = 8;

bool is_stream(Sort sort)
{
    return sort == Sort::stream || sort == Sort::stream_with_usage || sort == Sort::stream_failed ||
           sort == Sort::left;
}

std::string request_of(Sort sort, std::size_t seed, const StoredToken& token)
{
    json body{
        {"model", "gpt-4o"}, {"seed", seed}, {"user", std::to_string(static_cast<int>(sort))}};
    if (sort == Sort::embedding) {
        body["input"] = "x";
        return post_json("/v1/embeddings", body.dump(), token.line());
    }
    body["messages"] = json::array();
    if (is_stream(sort)) {
        body["stream"] = true;
    }
    if (sort == Sort::stream_with_usage) {
        body["stream_options"] = {{"include_usage", true}};
    }
    return post_json("/v1/chat/completions", body.dump(), token.line());
}

/// A backend that counts what it tells; one that `fails` does so where the request says it.
FakeBackend::Script counting(const std::shared_ptr<Told>& told, bool fails)
{
    return [told, fails](Exchange& exchange) {
        ++told->attempts;
        const auto body = json::parse(exchange.request().body);
        const auto sort = static_cast<Sort>(std::stoi(body["user"].get<std::string>()));
        const auto seed = body["seed"].get<int>();
        if (sort == Sort::left) {
            exchange.begin_sse();
            exchange.piece(kStreamEvent);
            exchange.stall();
            return;
        }
        if (fails && sort == Sort::refused_once) {
            exchange.json(R"({"error":{"message":"no","type":"server_error"}})", 500);
            return;
        }
        if (fails && sort == Sort::dropped_once) {
            exchange.close();
            return;
        }
        if (fails && sort == Sort::stream_failed) {
            exchange.begin_sse();
            exchange.piece(R"(data: {"error":{"message":"no","type":"server_error"}})"
                           "\n\n");
            exchange.last();
            return;
        }
        const int prompt = 7 + seed % 13;
        const int completion = sort == Sort::embedding ? 0 : 3 + seed % 17;
        ++told->replies;
        told->prompt += prompt;
        told->completion += completion;
        if (sort == Sort::embedding) {
            exchange.json(R"({"data":[],"model":"gpt-4o-2024","usage":{"prompt_tokens":)" +
                          std::to_string(prompt) + R"(,"total_tokens":)" + std::to_string(prompt) +
                          "}}");
        } else if (is_stream(sort)) {
            exchange.begin_sse();
            exchange.piece(kStreamEvent);
            exchange.piece(kStreamLast + usage_event(prompt, completion));
            exchange.piece(kStreamDone);
            exchange.last();
        } else {
            exchange.json(chat_reply(prompt, completion));
        }
    };
}

/// What the clients saw, by request id.
struct Seen {
    std::mutex mutex;
    std::map<std::string, int> whole;  ///< status
    std::set<std::string> left;
    std::size_t unasked_usage = 0;

    void add(const Response& reply, bool left_early, bool shows_usage)
    {
        const std::lock_guard lock(mutex);
        const auto id = reply.head["x-llm-proxy-request-id"];
        if (left_early) {
            left.insert(id);
        } else if (reply.complete()) {
            whole[id] = reply.status;
        }
        unasked_usage += shows_usage ? 1 : 0;
    }
};

void ask_all(const ProxyUnderTest& proxy, const StoredToken& token, std::size_t first,
             std::size_t count, Seen& seen)
{
    auto client = proxy.connect();
    for (auto i = first; i < first + count; ++i) {
        const auto sort = static_cast<Sort>(i % kSorts);
        if (!client.send(request_of(sort, i, token))) {
            client = proxy.connect();
            client.send(request_of(sort, i, token));
        }
        auto reply = client.head();
        const bool left = sort == Sort::left;
        if (left) {
            client.piece(reply);
            client.wire().close();
        } else {
            client.finish(reply);
        }
        const bool stream = is_stream(sort) && sort != Sort::stream_with_usage;
        seen.add(reply, left, stream && has_text(reply.body, "prompt_tokens"));
        if (left || !reply.complete() || same_text(reply.head["Connection"], "close")) {
            client = proxy.connect();
        }
    }
}

std::vector<json> all_usage(const ManageApi& api)
{
    std::vector<json> rows;
    std::string after;
    do {
        const auto page = api.read("/manage/usage?limit=1000" + after);
        rows.insert(rows.end(), page["data"].begin(), page["data"].end());
        after = page["next"].is_null() ? "" : "&after=" + page["next"].get<std::string>();
    } while (!after.empty());
    return rows;
}

}  // namespace

TEST(Accounting, SumsAreTheUpstreamsOwn)
{
    const TempDir dir;
    const auto told_a = std::make_shared<Told>();
    const auto told_b = std::make_shared<Told>();
    FakeBackend a(counting(told_a, true));
    FakeBackend b(counting(told_b, false));
    auto config = with_accounts(a.url(), dir.file("store.db"));
    config.backend("b2", b.url());
    config.set("fallback", "{ max_retries: 2, retry_budget: 100, backoff_initial_delay: 1ms, "
                           "enable_circuit_breaker: false }");
    Seen seen;
    std::vector<StoredToken> tokens;
    const auto each = kEach * test_scale();
    {
        ProxyUnderTest proxy(config);
        const ManageApi api(proxy);
        for (std::size_t i = 0; i < kClients; ++i) {
            tokens.push_back(make_token(api, i % 2 == 0 ? "" : tokens.back().project));
        }
        std::vector<std::thread> clients;
        for (std::size_t i = 0; i < kClients; ++i) {
            clients.emplace_back([&, i] { ask_all(proxy, tokens[i], i * each, each, seen); });
        }
        for (auto& client : clients) {
            client.join();
        }
        proxy.drain();
        EXPECT_EQ(proxy.wait(), 0) << "all requests have ended, and are settled";
    }
    EXPECT_EQ(seen.unasked_usage, 0U);
    EXPECT_EQ(seen.whole.size() + seen.left.size(), kClients * each);

    ProxyUnderTest proxy(config);
    const ManageApi api(proxy);
    const auto rows = all_usage(api);
    std::map<std::string, std::int64_t> attempts;
    std::map<std::string, std::int64_t> ended;  // by request id, of those that ended well
    std::set<std::string> left;
    std::int64_t prompt = 0;
    std::int64_t completion = 0;
    std::int64_t told = 0;
    for (const auto& row : rows) {
        ++attempts[row["backend"]];
        const auto id = row["request_id"].get<std::string>();
        const auto outcome = row["outcome"].get<std::string>();
        EXPECT_NE(outcome, "indeterminate") << row.dump();
        if (outcome == "ok") {
            ++ended[id];
        } else if (outcome == "client_gone") {
            left.insert(id);
        }
        if (!row["estimated"].get<bool>() && row["prompt_tokens"] != 0) {
            ++told;
            prompt += row["prompt_tokens"].get<std::int64_t>();
            completion += row["completion_tokens"].get<std::int64_t>();
        }
    }
    EXPECT_EQ(attempts["b1"], told_a->attempts);
    EXPECT_EQ(attempts["b2"], told_b->attempts);
    EXPECT_EQ(told, told_a->replies + told_b->replies);
    EXPECT_EQ(prompt, told_a->prompt + told_b->prompt);
    EXPECT_EQ(completion, told_a->completion + told_b->completion);
    EXPECT_EQ(left, seen.left);
    for (const auto& [id, status] : seen.whole) {
        EXPECT_EQ(ended[id], status == 200 ? 1 : 0) << id << " " << status;
    }
    EXPECT_GT(rows.size(), seen.whole.size() + seen.left.size()) << "some were tried again";

    // Sums, ledger and rows say the same.
    std::map<std::string, std::int64_t> by_token;
    for (const auto& row : rows) {
        by_token[row["token"]] +=
            row["prompt_tokens"].get<std::int64_t>() + row["completion_tokens"].get<std::int64_t>();
    }
    for (const auto& token : tokens) {
        const auto spend = api.read(token.path() + "/spend")["data"][3];
        EXPECT_EQ(spend["tokens"], by_token[token.id]);
        EXPECT_EQ(spend["requests"], each);
        const auto sum = api.read("/manage/usage/sums?token=" + token.id)["data"][0];
        EXPECT_EQ(sum["prompt_tokens"].get<std::int64_t>() +
                      sum["completion_tokens"].get<std::int64_t>(),
                  by_token[token.id]);
        EXPECT_EQ(sum["cost_usd"], spend["cost_usd"]);
    }
}
