#include "field.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kHour = 3600 * kSecond;

Field bare(Field row, BareUnit unit)
{
    row.bare_unit = unit;
    return row;
}

void add_backoff_fields(std::vector<Field>& table)
{
    table.push_back(field("fallback.max_retries", Type::integer, "3",
                          "Retries of one request, over all backends; attempts are one more.")
                        .between(0, 100)
                        .bind([](Cursor & c) -> auto& { return c.root->policy.max_retries; }));
    table.push_back(field("fallback.enable_backoff", Type::boolean, "true",
                          "Wait before the same backend is tried again.")
                        .bind([](Cursor & c) -> auto& { return c.root->policy.backoff.enabled; }));
    table.push_back(
        bare(field("fallback.backoff_initial_delay", Type::duration, "100ms",
                   "The wait before the first retry.")
                 .between(0, kHour)
                 .bind([](Cursor & c) -> auto& { return c.root->policy.backoff.initial_delay; }),
             BareUnit::milliseconds));
    table.push_back(
        bare(field("fallback.backoff_max_delay", Type::duration, "5s",
                   "The longest wait, jitter included.")
                 .between(0, kHour)
                 .bind([](Cursor & c) -> auto& { return c.root->policy.backoff.max_delay; }),
             BareUnit::milliseconds));
    table.push_back(
        field("fallback.backoff_multiplier", Type::real, "2", "By what each wait is longer.")
            .between(1, 100)
            .bind([](Cursor & c) -> auto& { return c.root->policy.backoff.multiplier; }));
    table.push_back(field("fallback.backoff_jitter", Type::real, "0.1",
                          "Share by which a wait is made longer or shorter at random.")
                        .between(0, 1)
                        .bind([](Cursor & c) -> auto& { return c.root->policy.backoff.jitter; }));
    table.push_back(one_of("fallback.backoff_jitter_mode", {"equal", "full"}, "equal",
                           "`equal` spreads a wait by `backoff_jitter`, `full` from nothing to all "
                           "of it.")
                        .bind([](Cursor & c) -> auto& { return c.root->policy.backoff.mode; }));
    table.push_back(
        field("fallback.retry_budget", Type::real, "0.2",
              "Retries that each request pays for; 10 are there at start and 100 are kept. "
              "Failures before any byte of the request went out are free.")
            .between(0, 100)
            .bind([](Cursor & c) -> auto& { return c.root->policy.retry_budget.deposit; }));
}

void add_circuit_fields(std::vector<Field>& table)
{
    table.push_back(
        bare(field("fallback.cooldown_seconds", Type::duration, "300s",
                   "The longest time that a backend's circuit stays open.")
                 .between(kMillisecond, 168 * kHour)
                 .bind([](Cursor & c) -> auto& { return c.root->policy.circuit.longest_open; }),
             BareUnit::seconds));
    table.push_back(field("fallback.enable_circuit_breaker", Type::boolean, "true",
                          "Keep requests away from a backend that fails.")
                        .bind([](Cursor & c) -> auto& { return c.root->policy.circuit.enabled; }));
    table.push_back(
        field("fallback.circuit_failure_threshold", Type::integer, "5",
              "Failures in a row that open a backend's circuit.")
            .between(1, 1'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->policy.circuit.failure_threshold; }));
    table.push_back(
        field("fallback.circuit_success_threshold", Type::integer, "2",
              "Successful probes that close it again.")
            .between(1, 1000)
            .bind([](Cursor & c) -> auto& { return c.root->policy.circuit.success_threshold; }));
    table.push_back(
        bare(field("fallback.circuit_open_timeout", Type::duration, "60s",
                   "How long it stays open, times the number of openings in a row, at most "
                   "`cooldown_seconds`.")
                 .between(kMillisecond, 168 * kHour)
                 .bind([](Cursor & c) -> auto& { return c.root->policy.circuit.open_timeout; }),
             BareUnit::seconds));
}

Field check(Field row, std::string example)
{
    return std::move(row).commented(std::move(example));
}

void add_health_check_fields(std::vector<Field>& table)
{
    table.push_back(check(
        field("backends[].health_check.path", Type::string, "",
              "What is asked for by GET, from the root of `base_url`'s host and with the backend's "
              "key and headers; a status from 200 to 299 is a success. Empty: no checks.")
            .bind([](Cursor & c) -> auto& { return c.backend->health_check.path; }),
        "/v1/models"));
    table.push_back(
        check(field("backends[].health_check.interval", Type::duration, "10s",
                    "Between two checks, a tenth more or less.")
                  .between(10 * kMillisecond, 24 * kHour)
                  .bind([](Cursor & c) -> auto& { return c.backend->health_check.interval; }),
              "10s"));
    table.push_back(
        check(field("backends[].health_check.timeout", Type::duration, "5s",
                    "For one check, its connection included.")
                  .between(kMillisecond, kHour)
                  .bind([](Cursor & c) -> auto& { return c.backend->health_check.timeout; }),
              "5s"));
    table.push_back(check(
        field("backends[].health_check.unhealthy_threshold", Type::integer, "3",
              "Failed checks in a row after which the backend gets requests only where no other "
              "can take them.")
            .between(1, 1000)
            .bind([](Cursor & c) -> auto& { return c.backend->health_check.unhealthy_threshold; }),
        "3"));
    table.push_back(check(
        field("backends[].health_check.healthy_threshold", Type::integer, "2",
              "Successful checks in a row after which it gets requests again.")
            .between(1, 1000)
            .bind([](Cursor & c) -> auto& { return c.backend->health_check.healthy_threshold; }),
        "2"));
}

}  // namespace

void add_resilience_fields(std::vector<Field>& table)
{
    table.push_back(
        one_of(
            "balancing.policy", {"round_robin", "least_pending", "fastest"}, "least_pending",
            "Among backends of the best priority: in turn, the one with the fewest requests under "
            "way, or the one with the shortest time to first byte and the fewest failures.")
            .bind([](Cursor & c) -> auto& { return c.root->policy.balancing; }));
    add_backoff_fields(table);
    add_circuit_fields(table);
}

void add_backend_resilience_fields(std::vector<Field>& table)
{
    table.push_back(
        field("backends[].adaptive_timeout.enabled", Type::boolean, "false",
              "Learn how long to wait for the head of a response: three times the recent 99th "
              "percentile per model, at most `timeout.response_header_timeout`.")
            .bind([](Cursor & c) -> auto& { return c.backend->adaptive_timeout.enabled; })
            .commented("true"));
    table.push_back(field("backends[].adaptive_timeout.floor", Type::duration, "10s",
                          "The shortest time that is learnt.")
                        .between(kMillisecond, kHour)
                        .bind([](Cursor & c) -> auto& { return c.backend->adaptive_timeout.floor; })
                        .commented("10s"));
    add_health_check_fields(table);
}

}  // namespace llmproxy::config
