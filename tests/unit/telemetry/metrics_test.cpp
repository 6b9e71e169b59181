#include "llmproxy/telemetry/metrics.hpp"

#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::telemetry {
namespace {

using namespace std::chrono_literals;

AccessRecord finished(std::string backend, std::uint16_t status, std::string_view outcome)
{
    AccessRecord record;
    record.route = "chat_completions";
    record.backend = std::move(backend);
    record.status = status;
    record.outcome = outcome;
    record.usage = {true, 10, 20, 3, 0};
    record.times = {30ms, 20ms, 60us, 0us};
    return record;
}

bool has_line(const std::string& text, const std::string& line)
{
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(Metrics, CountsFinishedRequests)
{
    Metrics metrics("1.2.3");
    metrics.record(finished("openai", 200, "ok"));
    metrics.record(finished("openai", 200, "ok"));
    metrics.record(finished("openai", 502, "upstream_reset"));
    const auto text = metrics.render();
    const std::string name = R"(llmproxy_requests_total{backend="openai",outcome=)";
    EXPECT_TRUE(has_line(text, name + R"("ok",route="chat_completions",status="200"} 2)")) << text;
    EXPECT_TRUE(
        has_line(text, name + R"("upstream_reset",route="chat_completions",status="502"} 1)"));
    EXPECT_TRUE(has_line(
        text,
        R"(llmproxy_request_duration_seconds_bucket{route="chat_completions",le="0.025"} 0)"));
    EXPECT_TRUE(has_line(
        text, R"(llmproxy_request_duration_seconds_bucket{route="chat_completions",le="0.05"} 3)"));
    EXPECT_TRUE(
        has_line(text, R"(llmproxy_upstream_first_byte_seconds_count{backend="openai"} 3)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_proxy_overhead_seconds_bucket{le="5e-05"} 0)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_proxy_overhead_seconds_bucket{le="0.0001"} 3)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_tokens_total{backend="openai",direction="output"} 60)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_tokens_total{backend="openai",direction="cached"} 9)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_build_info{version="1.2.3"} 1)"));
}

TEST(Metrics, LeavesOutPartsThatDidNotHappen)
{
    Metrics metrics("1");
    auto record = finished("", 401, "invalid_api_key");
    record.usage = {};
    record.times = {1ms, -1ns, -1ns, -1ns};
    metrics.record(record);
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, "llmproxy_proxy_overhead_seconds_count 0"));
    EXPECT_EQ(text.find("llmproxy_tokens_total{"), std::string::npos);
}

TEST(Metrics, CountsEvents)
{
    Metrics metrics("1");
    metrics.connection_opened("main");
    metrics.connection_opened("main");
    metrics.connection_closed("main");
    metrics.rejected(core::Errc::overloaded);
    metrics.upstream_connect("openai", core::Errc::none);
    metrics.upstream_connect("openai", core::Errc::upstream_tls_failed);
    metrics.upstream_reuse("openai");
    metrics.config_reload(true);
    metrics.config_reload(false);
    metrics.request_started();
    metrics.request_started();
    metrics.request_finished();
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_connections{listener="main"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_rejections_total{reason="overloaded"} 1)"));
    EXPECT_TRUE(
        has_line(text, R"(llmproxy_upstream_connects_total{backend="openai",result="ok"} 1)"));
    EXPECT_TRUE(has_line(
        text,
        R"(llmproxy_upstream_connects_total{backend="openai",result="upstream_tls_failed"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_upstream_reuses_total{backend="openai"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_config_reloads_total{result="ok"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_config_reloads_total{result="failed"} 1)"));
    EXPECT_TRUE(has_line(text, "llmproxy_active_requests 1"));
}

TEST(Metrics, AsksOthersForTheirFiguresWhenRendered)
{
    Metrics metrics("1");
    std::uint64_t dropped = 5;
    metrics.on_collect([&dropped](Metrics& to) {
        to.set_queued_requests(4);
        to.set_access_log_dropped(dropped);
    });
    EXPECT_TRUE(has_line(metrics.render(), "llmproxy_access_log_dropped_total 5"));
    dropped = 8;
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, "llmproxy_access_log_dropped_total 8"));
    EXPECT_TRUE(has_line(text, "llmproxy_queued_requests 4"));
}

TEST(Metrics, BoundsTheNumberOfSeries)
{
    Metrics metrics("1");
    for (int i = 0; i < 5'000; ++i) {
        metrics.record(finished("b" + std::to_string(i), 200, "ok"));
    }
    const auto text = metrics.render();
    std::size_t series = 0;
    for (std::size_t at = 0;
         (at = text.find("\nllmproxy_requests_total{", at)) != std::string::npos; ++at) {
        ++series;
    }
    EXPECT_EQ(series, 2049U);
    EXPECT_TRUE(has_line(
        text, R"(llmproxy_requests_total{backend="other",outcome="other",route="other",status="0"})"
              " 2952"));
}

TEST(Metrics, ShowsExactlyWhatTheCatalogueNames)
{
    Metrics metrics("1");
    metrics.record(finished("openai", 200, "ok"));
    metrics.connection_opened("main");
    metrics.rejected(core::Errc::draining);
    metrics.upstream_connect("openai", core::Errc::none);
    metrics.upstream_reuse("openai");
    metrics.health_check("openai", "passed");
    const std::pair<std::string_view, bool> healthy{"openai", true};
    metrics.set_backend_health({&healthy, 1});
    metrics.tunnel_opened();
    metrics.tunnel_closed("client_closed", 1, 2);
    metrics.destination_refused("own_listener");
    std::set<std::string> shown;
    const auto text = metrics.render();
    for (std::size_t at = 0; (at = text.find("# TYPE ", at)) != std::string::npos;) {
        at += 7;
        shown.insert(text.substr(at, text.find('\n', at) - at));
    }
    const std::vector<std::string> types{"counter", "gauge", "histogram"};
    std::set<std::string> named;
    for (const auto& metric : metric_catalogue()) {
        named.insert(std::string(metric.name) + " " +
                     types.at(static_cast<std::size_t>(metric.type)));
    }
    EXPECT_EQ(shown, named);
}

TEST(Metrics, ShowsTheHealthOfTheBackendsThatAreThereNow)
{
    Metrics metrics("1");
    std::vector<std::pair<std::string_view, bool>> healthy{{"a", true}, {"b", false}};
    metrics.set_backend_health(healthy);
    auto text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_backend_healthy{backend="a"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_backend_healthy{backend="b"} 0)"));
    healthy = {{"b", true}, {"c", true}};
    metrics.set_backend_health(healthy);
    text = metrics.render();
    EXPECT_EQ(text.find(R"(llmproxy_backend_healthy{backend="a"})"), std::string::npos);
    EXPECT_TRUE(has_line(text, R"(llmproxy_backend_healthy{backend="b"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_backend_healthy{backend="c"} 1)"));
}

TEST(Metrics, CountsTunnels)
{
    Metrics metrics("1");
    metrics.tunnel_opened();
    metrics.tunnel_opened();
    metrics.tunnel_closed("idle_timeout", 10, 200);
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, "llmproxy_open_tunnels 1"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_tunnels_total{end="idle_timeout"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_tunnel_bytes_total{direction="from_client"} 10)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_tunnel_bytes_total{direction="from_upstream"} 200)"));
}

TEST(Metrics, IsDocumentedByItsCatalogue)
{
    EXPECT_EQ(test::read_file(LLMPROXY_SOURCE_DIR "/docs/metrics.md"), metrics_markdown())
        << "write metrics_markdown() to docs/metrics.md";
}

TEST(Metrics, CountsExactlyFromManyThreads)
{
    constexpr int kThreads = 4;
    constexpr int kRounds = 2'000;
    Metrics metrics("1");
    std::atomic<bool> done{false};
    std::thread scraper([&] {
        while (!done) {
            static_cast<void>(metrics.render());
        }
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&metrics] {
            for (int i = 0; i < kRounds; ++i) {
                metrics.record(finished("b" + std::to_string(i % 16), 200, "ok"));
                metrics.upstream_reuse("b" + std::to_string(i % 16));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    done = true;
    scraper.join();
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_upstream_reuses_total{backend="b3"} 500)"));
    EXPECT_TRUE(has_line(
        text, R"(llmproxy_requests_total{backend="b3",outcome="ok",route="chat_completions",)"
              R"(status="200"} 500)"));
}

}  // namespace
}  // namespace llmproxy::telemetry
