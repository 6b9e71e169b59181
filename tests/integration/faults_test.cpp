// Every way in which a backend fails, alone and with another one to turn to, as JSON and as a stream: how often it is
// asked, what the client gets, and what the other one sees.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"
#include "support/test_ca.hpp"

#include <gtest/gtest.h>

#include <boost/asio/error.hpp>

using namespace llmproxy::test;
namespace net = llmproxy::net;

namespace {

/// What the client gets in the end.
struct Outcome {
    std::size_t attempts;
    int status;
    std::string code;  ///< of an error made here; empty: the backend's own reply
};

enum class Place { script, dead, silent, unknown_name, wrong_name, expired, wrong_ca };

struct Fault {
    std::string name;
    Place place = Place::script;
    FakeBackend::Script script;
    Outcome alone;
    Outcome with_other;
    bool streams_only = false;
};

constexpr int kGood = 200;

FakeBackend::Script replies(int status, std::string body = R"({"error":{"message":"no"}})",
                            std::string fields = {})
{
    return [=](Exchange& exchange) { exchange.reply(status, body, fields); };
}

Fault refused(int status)
{
    return {
        std::to_string(status), Place::script, replies(status), {1, status, {}}, {1, status, {}}};
}

Fault transient(int status)
{
    return {
        std::to_string(status), Place::script, replies(status), {4, status, {}}, {2, kGood, {}}};
}

/// The key is refused here, so that only another backend's can help.
Fault key_refused(int status)
{
    return {
        std::to_string(status), Place::script, replies(status), {1, status, {}}, {2, kGood, {}}};
}

Fault frame(std::string name, std::string event, Outcome alone, Outcome with_other)
{
    return {std::move(name),
            Place::script,
            [event](Exchange& exchange) {
                exchange.begin_sse();
                exchange.piece(event);
                exchange.last();
            },
            std::move(alone),
            std::move(with_other),
            true};
}

std::vector<Fault> all_faults()
{
    const std::string quota =
        R"({"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"x"}})";
    std::vector<Fault> faults;
    for (const int status : {400, 404, 405, 409, 410, 413, 415, 422, 425, 451, 501, 505, 524}) {
        faults.push_back(refused(status));
    }
    for (const int status : {408, 500, 502, 503, 504, 520, 523, 525, 529}) {
        faults.push_back(transient(status));
    }
    for (const int status : {402, 403}) {
        faults.push_back(key_refused(status));
    }
    const Outcome no_key{1, 502, "upstream_credentials_rejected"};
    const Outcome other{2, kGood, {}};
    faults.push_back({"401", Place::script, replies(401), no_key, other});
    faults.push_back({"429", Place::script, replies(429), {4, 429, {}}, other});
    faults.push_back({"429In5ms",
                      Place::script,
                      replies(429, "{}", "retry-after-ms: 5\r\n"),
                      {4, 429, {}},
                      other});
    faults.push_back({"429In60s",
                      Place::script,
                      replies(429, "{}", "Retry-After: 60\r\n"),
                      {1, 429, {}},
                      other});
    faults.push_back({"429UntilADate",
                      Place::script,
                      replies(429, "{}", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n"),
                      {1, 429, {}},
                      other});
    faults.push_back({"429Quota", Place::script, replies(429, quota), {1, 429, {}}, {1, 429, {}}});
    faults.push_back({"503In60s",
                      Place::script,
                      replies(503, "{}", "Retry-After: 60\r\n"),
                      {1, 503, {}},
                      other});
    faults.push_back(
        {"503Long", Place::script, replies(503, std::string(100'000, 'x')), {4, 503, {}}, other});

    faults.push_back({"Refuse", Place::dead, {}, {4, 502, "upstream_connect_failed"}, other});
    faults.push_back({"BlackHole", Place::silent, {}, {4, 502, "upstream_connect_failed"}, other});
    faults.push_back(
        {"UnknownName", Place::unknown_name, {}, {4, 502, "upstream_connect_failed"}, other});
    faults.push_back({"WrongName", Place::wrong_name, {}, {4, 502, "upstream_tls_failed"}, other});
    faults.push_back({"Expired", Place::expired, {}, {4, 502, "upstream_tls_failed"}, other});
    faults.push_back({"WrongCa", Place::wrong_ca, {}, {4, 502, "upstream_tls_failed"}, other});

    const Outcome once{2, 502, "upstream_reset"};
    const Outcome no_http{2, 502, "upstream_bad_response"};
    faults.push_back({"Reset", Place::script, [](Exchange& e) { e.reset(); }, once, other});
    faults.push_back({"End", Place::script, [](Exchange& e) { e.close(); }, once, other});
    const auto raw = [](std::string bytes) -> FakeBackend::Script {
        return [bytes = std::move(bytes)](Exchange& exchange) {
            exchange.raw(bytes);
            exchange.close();
        };
    };
    faults.push_back({"Garbage", Place::script, raw("garbage\r\n\r\n"), no_http, other});
    faults.push_back({"HalfHead", Place::script, raw("HTTP/1.1 200 OK\r\nContent-"), once, other});
    faults.push_back({"HeadWithoutBody", Place::script,
                      raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), once, other});
    const Outcome late{1, 504, "upstream_timeout"};
    faults.push_back({"Silence", Place::script, [](Exchange& e) { e.stall(); }, late, late});

    const Outcome cut{1, kGood, "cut"};
    faults.push_back({"HalfBody", Place::script,
                      raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\":"), cut, cut});
    const auto mid_stream = [](bool reset) -> FakeBackend::Script {
        return [reset](Exchange& exchange) {
            exchange.begin_sse();
            exchange.piece("data: {\"choices\":[]}\n\n");
            if (reset) {
                exchange.reset();
            } else {
                exchange.stall();
            }
        };
    };
    faults.push_back({"ResetMidStream", Place::script, mid_stream(true), cut, cut, true});
    faults.push_back({"StallMidStream", Place::script, mid_stream(false), cut, cut, true});
    faults.push_back(frame("OverloadedFrame",
                           "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                           "\"overloaded_error\",\"message\":\"x\"}}\n\n",
                           {4, kGood, {}}, other));
    faults.push_back(
        frame("UnknownFrame", "data: {\"error\":{\"message\":\"x\"}}\n\n", {4, kGood, {}}, other));
    faults.push_back(frame("RefusedFrame",
                           "data: {\"error\":{\"type\":\"invalid_request_error\",\"code\":400,"
                           "\"message\":\"x\"}}\n\n",
                           {1, kGood, {}}, {1, kGood, {}}));
    return faults;
}

struct Case {
    Fault fault;
    bool two = false;
    bool stream = false;
};

std::vector<Case> all_cases()
{
    std::vector<Case> cases;
    for (const auto& fault : all_faults()) {
        for (const bool two : {false, true}) {
            if (!fault.streams_only) {
                cases.push_back({fault, two, false});
            }
            cases.push_back({fault, two, true});
        }
    }
    return cases;
}

std::string name_of_case(const testing::TestParamInfo<Case>& info)
{
    return info.param.fault.name + (info.param.two ? "WithOther" : "Alone") +
           (info.param.stream ? "Stream" : "Json");
}

class BackendFault : public testing::TestWithParam<Case> {
protected:
    /// URL of the backend that fails, and what its entry needs besides.
    std::pair<std::string, std::string> failing()
    {
        const auto port_url = [](std::uint16_t port) {
            return "http://127.0.0.1:" + std::to_string(port) + "/v1";
        };
        const auto trust = [](const TestCa& authority) {
            return "tls: { ca: \"" + authority.certificate() + "\" }";
        };
        switch (GetParam().fault.place) {
        case Place::script: break;
        case Place::dead: return {port_url(dead_port()), {}};
        case Place::silent: return {port_url(silent.port()), {}};
        case Place::unknown_name: return {"http://nowhere.test:80/v1", {}};
        case Place::wrong_name:
            secure.emplace(replies(200), TestCa::server(ca.issue("DNS:other.test")));
            return {secure->url(), trust(ca)};
        case Place::expired:
            secure.emplace(replies(200), TestCa::server(ca.issue("IP:127.0.0.1", -3, -1)));
            return {secure->url(), trust(ca)};
        case Place::wrong_ca:
            secure.emplace(replies(200), TestCa::server(ca.issue()));
            return {secure->url(), trust(other_ca)};
        }
        return {backend.url(), "api_key: k-1"};
    }

    TestCa ca;
    TestCa other_ca{"another"};
    SilentPort silent;
    std::optional<FakeBackend> secure;
    FakeBackend backend{GetParam().fault.script};
    FakeBackend other{[](Exchange& exchange) {
        if (GetParam().stream) {
            exchange.begin_sse();
            exchange.piece("data: other\n\ndata: [DONE]\n\n");
            exchange.last();
        } else {
            exchange.json("\"other\"");
        }
    }};
};

net::LookupResult knows_no_name(const std::string&)
{
    net::LookupResult result;
    result.error = boost::asio::error::host_not_found;
    return result;
}

}  // namespace

TEST_P(BackendFault, IsAskedAgainAsOftenAsTheRulesSay)
{
    const auto& [fault, two, stream] = GetParam();
    const auto [url, more] = failing();
    GatewayConfig config(url, more);
    if (two) {
        config.backend("b2", other.url(), R"(["*"])", "priority: 1");
    }
    config.set("fallback", "{ backoff_initial_delay: 1, backoff_jitter: 0, "
                           "circuit_failure_threshold: 100 }");
    config.set("timeout", "{ connect_timeout: 300ms, response_header_timeout: 300ms, "
                          "stream_idle_timeout: 300ms }");
    ProxyUnderTest proxy(config,
                         fault.place == Place::unknown_name ? &knows_no_name : net::Lookup());
    const auto& expected = two ? fault.with_other : fault.alone;
    auto client = proxy.connect();
    const auto request = chat("m", stream);
    const auto reply = client.ask(request);

    EXPECT_EQ(reply.status, expected.status) << reply.body;
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], std::to_string(expected.attempts));
    const bool from_other = two && expected.attempts == 2;
    const bool own_error = !expected.code.empty() && expected.code != "cut";
    EXPECT_EQ(reply.head["x-llm-proxy-backend"], own_error ? "" : from_other ? "b2" : "b1");
    if (expected.code == "cut") {
        EXPECT_TRUE(reply.cut());
    } else {
        EXPECT_TRUE(reply.complete());
    }
    if (own_error) {
        EXPECT_EQ(error_code(reply), expected.code);
    }
    const bool gave_up = expected.status >= 400 && expected.attempts > 1;
    EXPECT_EQ(reply.head["x-should-retry"], gave_up ? "false" : "");

    const auto seen = other.requests();
    ASSERT_EQ(seen.size(), from_other ? 1U : 0U);
    if (from_other) {
        EXPECT_TRUE(has_text(reply.body, "other"));
        EXPECT_TRUE(seen.front().whole) << "the whole request again";
        EXPECT_EQ(seen.front().head["Authorization"], "") << "the key stays with its backend";
    }
    if (fault.place == Place::script) {
        EXPECT_EQ(backend.request_count(), from_other ? 1U : expected.attempts);
        EXPECT_EQ(backend.last_request().head["Authorization"], "Bearer k-1");
    }
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["attempts"], expected.attempts);
    EXPECT_EQ(line.value("tries", nlohmann::json::array()).size(),
              expected.attempts > 1 ? expected.attempts : 0U);
}
INSTANTIATE_TEST_SUITE_P(Matrix, BackendFault, testing::ValuesIn(all_cases()), name_of_case);
