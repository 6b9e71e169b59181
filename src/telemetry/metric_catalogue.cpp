#include "metric_catalogue.hpp"

#include "llmproxy/telemetry/gen_ai.hpp"

#include <fmt/format.h>

#include <array>

namespace llmproxy::telemetry {
namespace {

using Labels = std::span<const std::string_view>;
using Buckets = std::span<const double>;

constexpr double kBillionth = 1e-9;

constexpr std::array<std::string_view, 4> kRequest{"route", "backend", "status", "outcome"};
constexpr std::array<std::string_view, 1> kRoute{"route"};
constexpr std::array<std::string_view, 1> kBackend{"backend"};
constexpr std::array<std::string_view, 1> kListener{"listener"};
constexpr std::array<std::string_view, 1> kReason{"reason"};
constexpr std::array<std::string_view, 1> kEnd{"end"};
constexpr std::array<std::string_view, 1> kDirection{"direction"};
constexpr std::array<std::string_view, 1> kRule{"rule"};
constexpr std::array<std::string_view, 1> kResult{"result"};
constexpr std::array<std::string_view, 1> kVersion{"version"};
constexpr std::array<std::string_view, 1> kSide{"side"};
constexpr std::array<std::string_view, 1> kLog{"log"};
constexpr std::array<std::string_view, 1> kProject{"project"};
constexpr std::array<std::string_view, 3> kBudget{"subject", "project", "period"};
constexpr std::array<std::string_view, 2> kBackendClass{"backend", "class"};
constexpr std::array<std::string_view, 2> kBackendKey{"backend", "key"};
constexpr std::array<std::string_view, 2> kBackendTo{"backend", "to"};
constexpr std::array<std::string_view, 2> kBackendState{"backend", "state"};
constexpr std::array<std::string_view, 2> kBackendResult{"backend", "result"};
constexpr std::array<std::string_view, 2> kBackendDirection{"backend", "direction"};

// Of OpenTelemetry's semantic conventions, version 1.37.0, with Prometheus' characters.
constexpr std::array<std::string_view, 4> kGenAi{"gen_ai_operation_name", "gen_ai_provider_name",
                                                 "gen_ai_request_model", "gen_ai_response_model"};
constexpr std::array<std::string_view, 5> kGenAiTokens{
    "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model",
    "gen_ai_response_model", "gen_ai_token_type"};
constexpr std::array kTokenCounts{1.0,       4.0,       16.0,       64.0,      256.0,
                                  1024.0,    4096.0,    16384.0,    65536.0,   262144.0,
                                  1048576.0, 4194304.0, 16777216.0, 67108864.0};
constexpr std::array kGenAiDuration{0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                    1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
constexpr std::array kFirstToken{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                 0.25,  0.5,   0.75, 1.0,  2.5,  5.0,  7.5,  10.0};
constexpr std::array kOutputToken{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
                                  0.3,  0.4,   0.5,  0.75,  1.0, 2.5};

constexpr std::array kSteps{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                            0.1,    0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
constexpr std::array kCommits{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                              0.01,    0.025,  0.05,    0.1,    0.25,  1.0,    5.0};
constexpr std::array kWaits{0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0};

constexpr std::array kExchange{0.005, 0.01, 0.025, 0.05, 0.1,  0.25,  0.5,  1.0,
                               2.5,   5.0,  10.0,  30.0, 60.0, 180.0, 600.0};
constexpr std::array kOverhead{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025,
                               0.005,   0.01,   0.05,    0.25,   1.0};

constexpr std::array kCatalogue{
    MetricInfo{"llmproxy_requests_total",
               MetricType::counter,
               "Finished requests. `outcome` is `ok` or the code of the error made here.",
               kRequest,
               {}},
    MetricInfo{"llmproxy_request_duration_seconds", MetricType::histogram,
               "Time from a request's complete head to the last byte of its answer.", kRoute,
               kExchange},
    MetricInfo{"gen_ai_client_token_usage", MetricType::histogram,
               "Tokens of an exchange. `gen_ai_token_type` is `input` or `output`.", kGenAiTokens,
               kTokenCounts, 1.0},
    MetricInfo{"gen_ai_server_request_duration_seconds", MetricType::histogram,
               "Time from a request's complete head to the last byte of its answer.", kGenAi,
               kGenAiDuration},
    MetricInfo{"gen_ai_server_time_to_first_token_seconds", MetricType::histogram,
               "Streams: time from a request's complete head to the first piece written.", kGenAi,
               kFirstToken},
    MetricInfo{"gen_ai_server_time_per_output_token_seconds", MetricType::histogram,
               "Streams: time after the first piece, for each output token after the first.",
               kGenAi, kOutputToken},
    MetricInfo{"llmproxy_proxy_overhead_seconds", MetricType::histogram,
               "The proxy's own share of a request's time.", Labels{}, kOverhead},
    MetricInfo{"llmproxy_upstream_first_byte_seconds", MetricType::histogram,
               "Time from a request sent to the first byte of the upstream's answer.", kBackend,
               kExchange},
    MetricInfo{"llmproxy_active_requests", MetricType::gauge,
               "Requests being served now, those waiting for admission included.", Labels{},
               Buckets{}},
    MetricInfo{"llmproxy_queued_requests", MetricType::gauge, "Requests waiting for admission now.",
               Labels{}, Buckets{}},
    MetricInfo{
        "llmproxy_connections", MetricType::gauge, "Client connections open now.", kListener, {}},
    MetricInfo{"llmproxy_rejections_total",
               MetricType::counter,
               "Requests refused here, by the error's code.",
               kReason,
               {}},
    MetricInfo{"llmproxy_client_disconnects_total", MetricType::counter,
               "Requests whose client left before their end.", Labels{}, Buckets{}},
    MetricInfo{"llmproxy_attempts_total",
               MetricType::counter,
               "Attempts at backends. `class` is `ok`, the class of a reply that was refused "
               "(`transient`, `permanent`, `rate_limit`, `auth`, `quota`, `unknown`), or an "
               "error's code.",
               kBackendClass,
               {}},
    MetricInfo{"llmproxy_retry_wait_seconds", MetricType::histogram,
               "Time waited before an attempt that is a retry.", Labels{}, kWaits},
    MetricInfo{
        "llmproxy_circuit_state",
        MetricType::gauge,
        "Of a backend's circuit (empty `key`): 0 closed, 1 open, 2 half-open. Of its keys, by "
        "their place in the configuration: 1 while one rests after a refusal, else 0.",
        kBackendKey,
        {}},
    MetricInfo{"llmproxy_circuit_transitions_total",
               MetricType::counter,
               "Changes of a circuit, by the state that it came to.",
               kBackendTo,
               {}},
    MetricInfo{"llmproxy_streams_truncated_total",
               MetricType::counter,
               "Event streams that the upstream cut short.",
               kBackend,
               {}},
    MetricInfo{"llmproxy_pool_connections",
               MetricType::gauge,
               "Connections to a backend now. `state` is `idle` or `leased`.",
               kBackendState,
               {}},
    MetricInfo{"llmproxy_upstream_connects_total",
               MetricType::counter,
               "New connections to backends that were tried. `result` is `ok` or an error's code.",
               kBackendResult,
               {}},
    MetricInfo{"llmproxy_upstream_reuses_total",
               MetricType::counter,
               "Exchanges on a pooled connection.",
               kBackend,
               {}},
    MetricInfo{"llmproxy_upstream_reuse_ratio",
               MetricType::gauge,
               "Share of exchanges since the start that used a pooled connection.",
               kBackend,
               {}},
    MetricInfo{"llmproxy_dns_seconds", MetricType::histogram,
               "Time of look-ups of names; names that are remembered need none.", Labels{}, kSteps},
    MetricInfo{"llmproxy_tls_handshake_seconds", MetricType::histogram,
               "Time of complete TLS handshakes. `side` is `client` or `upstream`.", kSide, kSteps},
    MetricInfo{"llmproxy_backend_healthy",
               MetricType::gauge,
               "0 while a backend's checks find it unhealthy, else 1; backends without checks have "
               "none.",
               kBackend,
               {}},
    MetricInfo{"llmproxy_health_checks_total",
               MetricType::counter,
               "Checks of backends. `result` is `passed`, `refused` (by its status), "
               "`connect_failed`, `tls_failed`, `timeout` or `bad_reply`.",
               kBackendResult,
               {}},
    MetricInfo{"llmproxy_tokens_total",
               MetricType::counter,
               "Tokens as upstreams reported them. `direction` is `input`, `output`, `cached` "
               "(part of input) or "
               "`reasoning` (part of output).",
               kBackendDirection,
               {}},
    MetricInfo{"llmproxy_tunnels_active", MetricType::gauge,
               "Tunnels of the forward proxy open now.", Labels{}, Buckets{}},
    MetricInfo{"llmproxy_tunnels_total",
               MetricType::counter,
               "Tunnels of the forward proxy that ended, by why: `client_closed`, "
               "`upstream_closed`, `client_reset`, `upstream_reset`, `idle_timeout`, `drained`.",
               kEnd,
               {}},
    MetricInfo{"llmproxy_tunnel_bytes_total",
               MetricType::counter,
               "Bytes through ended tunnels. `direction` is `from_client` or `from_upstream`.",
               kDirection,
               {}},
    MetricInfo{"llmproxy_forward_refusals_total",
               MetricType::counter,
               "Destinations refused by the forward proxy, by the rule that did.",
               kRule,
               {}},
    MetricInfo{"llmproxy_cost_usd_total",
               MetricType::counter,
               "What requests cost in US dollars, as it was recorded in the store. `project` is "
               "empty unless `metrics.max_projects` says otherwise.",
               kProject,
               {},
               kBillionth},
    MetricInfo{"llmproxy_budget_used_ratio",
               MetricType::gauge,
               "Share of a budget that is spent, of money or tokens, whichever is larger: of the "
               "projects or tokens (`subject`) whose requests this process has seen, the one "
               "nearest to its end. `project` is empty unless `metrics.max_projects` says "
               "otherwise. `period` is `day`, `week`, `month` or `total`.",
               kBudget,
               {}},
    MetricInfo{"llmproxy_store_up", MetricType::gauge,
               "1 while the store takes new work, else 0; without a store there is none.", Labels{},
               Buckets{}},
    MetricInfo{"llmproxy_store_commit_seconds", MetricType::histogram,
               "Time of transactions of the store; each holds what came during the one before.",
               Labels{}, kCommits},
    MetricInfo{"llmproxy_store_queue", MetricType::gauge,
               "Writes that wait for the store or are being written.", Labels{}, Buckets{}},
    MetricInfo{"llmproxy_store_unsettled", MetricType::gauge,
               "Requests whose usage waits for the store to work again.", Labels{}, Buckets{}},
    MetricInfo{"llmproxy_store_failures_total", MetricType::counter,
               "Transactions of the store that failed.", Labels{}, Buckets{}},
    MetricInfo{"llmproxy_log_dropped_total",
               MetricType::counter,
               "Lines lost because where they go was slow or failed. `log` is `access`.",
               kLog,
               {}},
    MetricInfo{"llmproxy_traces_total",
               MetricType::counter,
               "Sampled requests, by what became of their traces: `exported`, `dropped` (the queue "
               "was full), `failed` (the collector did not take them).",
               kResult,
               {}},
    MetricInfo{"llmproxy_config_reloads_total",
               MetricType::counter,
               "Reloads of the configuration. `result` is `ok` or `failed`.",
               kResult,
               {}},
    MetricInfo{"llmproxy_certificate_expiry_seconds",
               MetricType::gauge,
               "Time until a listener's certificate expires; negative once it has.",
               kListener,
               {}},
    MetricInfo{"process_cpu_seconds_total", MetricType::counter,
               "User and system CPU time of this process.", Labels{}, Buckets{}},
    MetricInfo{"process_start_time_seconds", MetricType::gauge,
               "When this process began, since the Unix epoch.", Labels{}, Buckets{}},
    MetricInfo{"process_resident_memory_bytes", MetricType::gauge, "Resident memory.", Labels{},
               Buckets{}},
    MetricInfo{"process_virtual_memory_bytes", MetricType::gauge, "Virtual memory.", Labels{},
               Buckets{}},
    MetricInfo{"process_open_fds", MetricType::gauge, "Open descriptors.", Labels{}, Buckets{}},
    MetricInfo{"process_max_fds", MetricType::gauge, "The limit of open descriptors.", Labels{},
               Buckets{}},
    MetricInfo{"process_threads", MetricType::gauge, "Threads.", Labels{}, Buckets{}},
    MetricInfo{
        "llmproxy_build_info", MetricType::gauge, "Always 1; tells the version.", kVersion, {}},
};
static_assert(kCatalogue.size() == kMetrics);

std::string_view word_of(MetricType type) noexcept
{
    static constexpr std::array<std::string_view, 3> kWords{"counter", "gauge", "histogram"};
    return kWords.at(static_cast<std::size_t>(type));
}

}  // namespace

std::span<const MetricInfo> metric_catalogue() noexcept
{
    return kCatalogue;
}

const MetricInfo& info_of(Metric metric) noexcept
{
    return kCatalogue[static_cast<std::size_t>(metric)];
}

std::string metrics_markdown()
{
    std::string page =
        "# Metrics\n"
        "\n"
        "What `/metrics` shows, in Prometheus' text format. This page is generated from the metric "
        "catalogue; a "
        "test compares the two.\n"
        "\n"
        "Label values come from closed sets and from the configuration, never from a request. A "
        "metric takes a "
        "bounded number of label combinations; those past it are counted under `other`.\n"
        "\n"
        "| metric | type | labels | meaning |\n"
        "|---|---|---|---|\n";
    std::string bounds;
    for (const auto& metric : kCatalogue) {
        std::string labels;
        for (const auto label : metric.labels) {
            labels += fmt::format("{}`{}`", labels.empty() ? "" : ", ", label);
        }
        page += fmt::format("| `{}` | {} | {} | {} |\n", metric.name, word_of(metric.type), labels,
                            metric.help);
        if (!metric.buckets.empty()) {
            bounds += fmt::format("- `{}`: {}\n", metric.name, fmt::join(metric.buckets, ", "));
        }
    }
    page += "\nNames that begin with `gen_ai_` are those of OpenTelemetry's semantic conventions "
            "for generative AI, version " +
            std::string(kSemanticConventions) +
            ". Models that no upstream has answered for yet, and those past "
            "`metrics.max_models`, are `other` there.\n"
            "\nUpper bounds of the histograms' buckets, in seconds (of token counts: tokens):\n\n" +
            bounds;
    return page;
}

}  // namespace llmproxy::telemetry
