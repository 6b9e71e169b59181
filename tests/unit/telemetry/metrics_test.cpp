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
    EXPECT_TRUE(has_line(metrics.render(), "llmproxy_log_dropped_total{log=\"access\"} 5"));
    dropped = 8;
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, "llmproxy_log_dropped_total{log=\"access\"} 8"));
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
    auto stream = finished("openai", 200, "ok");
    stream.provider = "openai";
    stream.model = stream.served_model = "gpt";
    stream.times.first_piece = 1ms;
    stream.stream = true;
    stream.attempts = 1;
    stream.cost = {1};
    metrics.record(stream);
    stream.outcome = "upstream_reset";
    metrics.record(stream);
    metrics.looked_up(1ms);
    metrics.tls_handshake("client", 1ms);
    metrics.connection_opened("main");
    metrics.rejected(core::Errc::draining);
    metrics.upstream_connect("openai", core::Errc::none);
    metrics.upstream_reuse("openai");
    metrics.health_check("openai", "passed");
    metrics.on_collect([](Metrics& to) {
        BackendFigures figures;
        figures.name = "openai";
        figures.healthy = true;
        figures.connects = 1;
        to.show_backend(figures);
        to.show_certificate("main", 3600s);
        to.show_store({});
        to.show_budget("project", "team", "month", 0.5);
    });
    metrics.tunnel_opened();
    metrics.tunnel_closed("client_closed", 1, 2);
    metrics.destination_refused("own_listener");
    metrics.traces(TraceEnd::exported, 1);
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

TEST(Metrics, TellsCostAndBudgetsWithoutProjectsUnlessAsked)
{
    Metrics metrics("1");
    const auto spend = [&metrics](std::string project, std::int64_t nano_usd) {
        auto record = finished("openai", 200, "ok");
        record.project = std::move(project);
        record.cost = {nano_usd};
        metrics.record(record);
    };
    metrics.on_collect([](Metrics& to) {
        to.show_budget("project", "a", "month", 0.25);
        to.show_budget("project", "b", "month", 0.75);
        to.show_budget("token", "b", "day", 0.5);
    });
    spend("a", 1'500'000'000);
    spend("b", 2'500'000'000);
    spend("b", 0);
    auto text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_cost_usd_total{project=""} 4)")) << text;
    EXPECT_TRUE(has_line(
        text, R"(llmproxy_budget_used_ratio{period="month",project="",subject="project"} 0.75)"))
        << text;
    EXPECT_TRUE(has_line(
        text, R"(llmproxy_budget_used_ratio{period="day",project="",subject="token"} 0.5)"));

    metrics.limit_projects(1);
    spend("a", 500'000'000);
    spend("b", 250'000'000);
    text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_cost_usd_total{project=""} 4)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_cost_usd_total{project="a"} 0.5)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_cost_usd_total{project="other"} 0.25)"));
    EXPECT_TRUE(has_line(
        text, R"(llmproxy_budget_used_ratio{period="month",project="a",subject="project"} 0.25)"));
    EXPECT_TRUE(has_line(
        text,
        R"(llmproxy_budget_used_ratio{period="month",project="other",subject="project"} 0.75)"));
}

TEST(Metrics, TellsHowTheStoreDoes)
{
    Metrics metrics("1");
    EXPECT_EQ(metrics.render().find("llmproxy_store_up "), std::string::npos);
    StoreFigures figures;
    figures.works = false;
    figures.queued = 3;
    figures.unsettled = 2;
    figures.failures = 7;
    metrics.on_collect([figures](Metrics& to) { to.show_store(figures); });
    metrics.store_commit(2ms);
    const auto text = metrics.render();
    for (const auto* line : {"llmproxy_store_up 0", "llmproxy_store_queue 3",
                             "llmproxy_store_unsettled 2", "llmproxy_store_failures_total 7",
                             R"(llmproxy_store_commit_seconds_bucket{le="0.001"} 0)",
                             R"(llmproxy_store_commit_seconds_bucket{le="0.0025"} 1)",
                             "llmproxy_store_commit_seconds_sum 0.002"}) {
        EXPECT_TRUE(has_line(text, line)) << line << text;
    }
}

TEST(Metrics, ShowsTheBackendsThatAreThereNow)
{
    Metrics metrics("1");
    std::vector<BackendFigures> there(2);
    there[0].name = "a";
    there[0].healthy = true;
    there[0].circuit = 1;
    there[0].transitions = {1, 2, 3};
    there[0].resting = {false, true};
    there[0].idle = 4;
    there[0].leased = 5;
    there[0].connects = 1;
    there[0].reuses = 3;
    there[1].name = "b";
    metrics.on_collect([&](Metrics& to) {
        for (const auto& one : there) {
            to.show_backend(one);
        }
    });
    auto text = metrics.render();
    for (const auto* line : {R"(llmproxy_backend_healthy{backend="a"} 1)",
                             R"(llmproxy_circuit_state{backend="a",key=""} 1)",
                             R"(llmproxy_circuit_state{backend="a",key="0"} 0)",
                             R"(llmproxy_circuit_state{backend="a",key="1"} 1)",
                             R"(llmproxy_circuit_transitions_total{backend="a",to="half_open"} 3)",
                             R"(llmproxy_pool_connections{backend="a",state="idle"} 4)",
                             R"(llmproxy_pool_connections{backend="a",state="leased"} 5)",
                             R"(llmproxy_upstream_reuse_ratio{backend="a"} 0.75)",
                             R"(llmproxy_circuit_state{backend="b",key=""} 0)"}) {
        EXPECT_TRUE(has_line(text, line)) << line;
    }
    EXPECT_EQ(text.find(R"(llmproxy_backend_healthy{backend="b"})"), std::string::npos);
    EXPECT_EQ(text.find(R"(llmproxy_upstream_reuse_ratio{backend="b"})"), std::string::npos);
    there.erase(there.begin());
    text = metrics.render();
    EXPECT_EQ(text.find(R"(backend="a")"), std::string::npos);
    EXPECT_TRUE(has_line(text, R"(llmproxy_circuit_state{backend="b",key=""} 0)"));
}

TEST(Metrics, CountsAttemptsByTheirClass)
{
    Metrics metrics("1");
    auto one = finished("openai", 200, "ok");
    one.attempts = 1;
    metrics.record(one);
    one.status = 429;
    one.refused_as = "rate_limit";
    metrics.record(one);
    auto several = finished("openai", 200, "ok");
    several.attempts = 2;
    several.tries.resize(2);
    several.tries[0].backend = "first";
    several.tries[0].outcome = "transient";
    several.tries[1].backend = "openai";
    several.tries[1].outcome = "ok";
    several.tries[1].waited = 300ms;
    metrics.record(several);
    metrics.record(finished("", 401, "invalid_api_key"));  // reached no backend
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_attempts_total{backend="openai",class="ok"} 2)"))
        << text;
    EXPECT_TRUE(
        has_line(text, R"(llmproxy_attempts_total{backend="openai",class="rate_limit"} 1)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_attempts_total{backend="first",class="transient"} 1)"));
    EXPECT_EQ(text.find(R"(class="invalid_api_key")"), std::string::npos);
    EXPECT_TRUE(has_line(text, R"(llmproxy_retry_wait_seconds_bucket{le="0.25"} 0)"));
    EXPECT_TRUE(has_line(text, R"(llmproxy_retry_wait_seconds_bucket{le="0.5"} 1)"));
}

TEST(Metrics, CountsCutStreamsAndClientsThatLeft)
{
    Metrics metrics("1");
    auto cut = finished("openai", 200, "upstream_reset");
    cut.stream = true;
    metrics.record(cut);
    cut.outcome = "client_gone";
    metrics.record(cut);
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, R"(llmproxy_streams_truncated_total{backend="openai"} 1)"));
    EXPECT_TRUE(has_line(text, "llmproxy_client_disconnects_total 1"));
}

TEST(Metrics, NamesModelsAsTheConventionsDo)
{
    Metrics metrics("1");
    auto chat = finished("openai", 200, "ok");
    chat.provider = "openai";
    chat.model = "fast";
    chat.served_model = "gpt-4o-2024-08-06";
    chat.times.first_piece = 10ms;  // of 30 ms: 20 ms for 19 tokens
    metrics.record(chat);
    const auto text = metrics.render();
    const std::string labels = R"({gen_ai_operation_name="chat",gen_ai_provider_name="openai",)"
                               R"(gen_ai_request_model="fast",)"
                               R"(gen_ai_response_model="gpt-4o-2024-08-06")";
    for (const auto& line :
         {"gen_ai_client_token_usage_sum" + labels + R"(,gen_ai_token_type="input"} 10)",
          "gen_ai_client_token_usage_bucket" + labels + R"(,gen_ai_token_type="output",le="16"} 0)",
          "gen_ai_client_token_usage_bucket" + labels + R"(,gen_ai_token_type="output",le="64"} 1)",
          "gen_ai_server_request_duration_seconds_bucket" + labels + R"(,le="0.04"} 1)",
          "gen_ai_server_time_to_first_token_seconds_bucket" + labels + R"(,le="0.01"} 1)",
          "gen_ai_server_time_per_output_token_seconds_bucket" + labels + R"(,le="0.01"} 1)"}) {
        EXPECT_TRUE(has_line(text, line)) << line << text;
    }
}

TEST(Metrics, BoundsTheNamesOfModels)
{
    Metrics metrics("1");
    metrics.limit_models(2);
    for (int i = 0; i < 10'000; ++i) {
        auto wrong = finished("openai", 404, "ok");
        wrong.model = "made-up-" + std::to_string(i);
        metrics.record(wrong);
    }
    for (const auto* name : {"a", "b", "c"}) {
        auto right = finished("openai", 200, "ok");
        right.model = name;
        metrics.record(right);
    }
    const auto text = metrics.render();
    EXPECT_EQ(text.find("made-up"), std::string::npos);
    const std::string name = R"(gen_ai_server_request_duration_seconds_count{)"
                             R"(gen_ai_operation_name="chat",gen_ai_provider_name="",)"
                             R"(gen_ai_request_model=)";
    const std::string end = R"(,gen_ai_response_model=""})";
    EXPECT_TRUE(has_line(text, name + R"("a")" + end + " 1")) << text;
    EXPECT_TRUE(has_line(text, name + R"("b")" + end + " 1"));
    EXPECT_EQ(text.find(name + R"("c")"), std::string::npos);
    EXPECT_TRUE(has_line(text, name + R"("other")" + end + " 10001"));
}

TEST(Metrics, CountsTunnels)
{
    Metrics metrics("1");
    metrics.tunnel_opened();
    metrics.tunnel_opened();
    metrics.tunnel_closed("idle_timeout", 10, 200);
    const auto text = metrics.render();
    EXPECT_TRUE(has_line(text, "llmproxy_tunnels_active 1"));
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
