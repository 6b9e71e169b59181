#include "metric_catalogue.hpp"

#include <fmt/format.h>

#include <array>

namespace llmproxy::telemetry {
namespace {

using Labels = std::span<const std::string_view>;
using Buckets = std::span<const double>;

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
constexpr std::array<std::string_view, 2> kBackendResult{"backend", "result"};
constexpr std::array<std::string_view, 2> kBackendDirection{"backend", "direction"};

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
    MetricInfo{"llmproxy_open_tunnels", MetricType::gauge, "Tunnels of the forward proxy open now.",
               Labels{}, Buckets{}},
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
    MetricInfo{"llmproxy_access_log_dropped_total", MetricType::counter,
               "Access log lines lost because the sink was slow or failed.", Labels{}, Buckets{}},
    MetricInfo{"llmproxy_config_reloads_total",
               MetricType::counter,
               "Reloads of the configuration. `result` is `ok` or `failed`.",
               kResult,
               {}},
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
    page += "\nUpper bounds of the histograms' buckets, in seconds:\n\n" + bounds;
    return page;
}

}  // namespace llmproxy::telemetry
