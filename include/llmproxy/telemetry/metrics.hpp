#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/telemetry/access_record.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

/// What became of the trace of a request.
enum class TraceEnd : std::uint8_t { exported, dropped, failed };

enum class MetricType : std::uint8_t { counter, gauge, histogram };

/// One metric: all that is registered, documented and tested of it.
struct MetricInfo {
    std::string_view name;
    MetricType type;
    std::string_view help;
    std::span<const std::string_view> labels;
    std::span<const double> buckets;  ///< upper bounds; histograms only
    /// Of what is summed up; 0: nanoseconds, shown in seconds, in histograms, and ones elsewhere.
    double unit = 0.0;
};

/// Every metric of this program, in the order of the reference.
[[nodiscard]] std::span<const MetricInfo> metric_catalogue() noexcept;

/// The metric reference, `docs/metrics.md`.
[[nodiscard]] std::string metrics_markdown();

/// What a backend keeps count of itself.
struct BackendFigures {
    std::string_view name;
    unsigned circuit = 0;                        ///< policy::CircuitState
    std::array<std::uint64_t, 3> transitions{};  ///< by the state that it came to
    std::vector<bool> resting;                   ///< its keys
    std::size_t idle = 0;                        ///< connections
    std::size_t leased = 0;
    std::uint64_t connects = 0;
    std::uint64_t reuses = 0;
    std::optional<bool> healthy;  ///< nothing when it is not checked
};

/// How a time is distributed, from a histogram whose figures are at most 1.6 % off
/// (telemetry/time_histogram.hpp).
struct TimeSummary {
    std::uint64_t count = 0;
    core::Duration mean{0};
    core::Duration p50{0};
    core::Duration p95{0};
    core::Duration p99{0};
    core::Duration most{0};
};

/// What was counted of one backend since the start.
struct BackendStats {
    std::string name;
    std::uint64_t requests = 0;                     ///< answered by it, or failed at it last
    std::map<std::string, std::uint64_t> outcomes;  ///< of these
    std::map<std::string, std::uint64_t> attempts;  ///< by how they ended
    TimeSummary duration;                           ///< of requests
    TimeSummary first_byte;                         ///< from request sent to first byte
};

/// What the store keeps count of itself.
struct StoreFigures {
    bool works = true;
    std::uint64_t queued = 0;     ///< writes that are not done yet
    std::uint64_t unsettled = 0;  ///< settlements that wait for it to work again
    std::uint64_t failures = 0;   ///< transactions that failed since the start
};

/// Counts what the catalogue names and renders it for Prometheus.
///
/// Label values come from closed sets (route and outcome words) and from configuration (backends,
/// listeners), never from a request. As a safety net a metric takes a bounded number of label
/// combinations; those past it are counted under `other`.
///
/// Thread safety: every member may be called concurrently. Counting takes no lock once a label
/// combination was seen, and threads count apart from each other.
class Metrics {
public:
    /// \param version  of this program, for llmproxy_build_info.
    explicit Metrics(std::string_view version);
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;
    ~Metrics();

    /// At most so many model names become label values; those past it are `other`.
    void limit_models(std::size_t most) noexcept;
    /// The same for names of projects; 0: none does, and the label stays empty.
    void limit_projects(std::size_t most) noexcept;

    /// A finished request: its count, attempts, times and tokens.
    void record(const AccessRecord& record);

    /// A request's head is complete; each call is matched by one of `request_finished`.
    void request_started() noexcept;
    void request_finished() noexcept;

    void connection_opened(std::string_view listener);
    void connection_closed(std::string_view listener);

    /// A request that this program itself refused.
    void rejected(core::Errc reason);

    /// A tunnel of the forward proxy begins; each call is matched by one of `tunnel_closed`.
    void tunnel_opened() noexcept;
    /// \param end  why; a word of a closed set.
    void tunnel_closed(std::string_view end, std::uint64_t from_client,
                       std::uint64_t from_upstream);
    /// The forward proxy refused a destination. \param rule  a word of a closed set.
    void destination_refused(std::string_view rule);

    /// A new connection to a backend was tried; Errc::none when it stands.
    void upstream_connect(std::string_view backend, core::Errc result);
    /// A look-up of a name has ended.
    void looked_up(core::Duration took);
    /// A TLS handshake has ended well. \param side  `client` or `upstream`.
    void tls_handshake(std::string_view side, core::Duration took);
    /// The store has committed a transaction.
    void store_commit(core::Duration took);
    /// A pooled connection was used again.
    void upstream_reuse(std::string_view backend);

    /// A backend was checked. \param result  a word of a closed set.
    void health_check(std::string_view backend, std::string_view result);

    void config_reload(bool ok);

    /// Traces of so many requests have ended so.
    void traces(TraceEnd end, std::size_t requests);

    /// \name Figures that others keep; set them from an `on_collect` callback. What is shown is
    /// forgotten before the next.
    /// @{
    void set_queued_requests(std::uint64_t count);
    /// \param total  since the start; never falls.
    void set_access_log_dropped(std::uint64_t total);
    void show_backend(const BackendFigures& figures);
    void show_store(const StoreFigures& figures);
    /// A budget that is spent to this share. Of those with the same labels the largest is shown.
    /// \param subject  `project` or `token`. \param project  the project's name, or that of the token's.
    /// \param period   `day`, `week`, `month` or `total`.
    void show_budget(std::string_view subject, std::string_view project, std::string_view period,
                     double used);
    /// \param left  until it expires; negative once it has.
    void show_certificate(std::string_view listener, std::chrono::seconds left);
    /// @}

    /// What was counted of backends, with percentiles of their times.
    [[nodiscard]] std::vector<BackendStats> stats() const;

    /// Has `collect` called at the beginning of each `render`, one at a time. What it captures must
    /// live as long as this object is rendered.
    void on_collect(std::function<void(Metrics&)> collect);

    /// All metrics in Prometheus' text format 0.0.4.
    [[nodiscard]] std::string render();

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Content-Type of what `Metrics::render` returns.
inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace llmproxy::telemetry
