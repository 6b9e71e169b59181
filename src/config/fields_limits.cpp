#include "field.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kHour = 3600 * 1000 * kMillisecond;
constexpr std::int64_t kLongest = 168 * kHour;
constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kMiB = 1024 * kKiB;
constexpr std::int64_t kGiB = 1024 * kMiB;

void add_timeout_fields(std::vector<Field>& table)
{
    table.push_back(
        field("timeout.connect_timeout", Type::duration, "10s",
              "Name resolution, TCP and TLS together.")
            .between(kMillisecond, kHour)
            .bind([](Cursor & c) -> auto& { return c.root->upstream.connect_timeout; }));
    table.push_back(
        field("timeout.response_header_timeout", Type::duration, "3m",
              "From the request sent to the head of the response.")
            .between(kMillisecond, kLongest)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.response_header_timeout; }));

    auto old_name =
        field("timeout.read_timeout", Type::duration, "",
              "Old name of `timeout.stream_idle_timeout`; accepted with a warning.")
            .between(kMillisecond, kLongest)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.stream_idle_timeout; });
    old_name.alias_of = "timeout.stream_idle_timeout";
    old_name.get = nullptr;
    table.push_back(std::move(old_name));

    table.push_back(
        field("timeout.stream_idle_timeout", Type::duration, "120s",
              "Silence between two pieces of a response.")
            .between(kMillisecond, kLongest)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.stream_idle_timeout; }));

    auto write = field("timeout.write_timeout", Type::duration, "60s",
                       "One write that makes no progress, to a client or to a backend.")
                     .between(kMillisecond, kLongest)
                     .bind([](Cursor & c) -> auto& { return c.root->pipeline.write_timeout; });
    write.set = [](Cursor& cursor, const Value& value) {
        assign(cursor.root->pipeline.write_timeout, value);
        assign(cursor.root->server.write_timeout, value);
    };
    table.push_back(std::move(write));

    table.push_back(field("timeout.total_timeout", Type::duration, "15m",
                          "The whole request from its head on, queue included; for streams and "
                          "upgrades until the "
                          "first relayed byte.")
                        .between(kMillisecond, kLongest)
                        .bind([](Cursor & c) -> auto& { return c.root->pipeline.total_timeout; }));
}

}  // namespace

void add_limit_fields(std::vector<Field>& table)
{
    table.push_back(
        field("limits.max_concurrent_requests", Type::integer, "1024",
              "Gateway requests served at once; more wait in the queue.")
            .between(1, 10'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.max_concurrent_requests; }));
    table.push_back(
        field("limits.max_queued_requests", Type::integer, "1024",
              "Places in the queue; a request that finds it full is answered 503.")
            .between(0, 10'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.max_queued_requests; }));
    table.push_back(
        field("limits.queue_timeout", Type::duration, "5s",
              "How long a request waits in the queue before it is answered 503 with `Retry-After`.")
            .between(kMillisecond, kHour)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.queue_timeout; }));
    table.push_back(field("limits.max_header_bytes", Type::bytes, "32KiB",
                          "A request's head; a longer one is answered 431.")
                        .between(kKiB, kMiB)
                        .bind([](Cursor & c) -> auto& { return c.root->server.max_header_bytes; }));
    table.push_back(
        field(
            "limits.max_body_bytes", Type::bytes, "32MiB",
            "A JSON body on an inference route, which is held whole; a longer one is answered 413.")
            .between(1, 64 * kGiB)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.max_body_bytes; }));
    table.push_back(
        field("limits.max_buffered_bytes", Type::bytes, "1GiB",
              "All held bodies together; beyond it requests are answered 503.")
            .between(1, 1024 * kGiB)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.max_buffered_bytes; }));
    table.push_back(
        field("limits.max_upload_bytes", Type::bytes, "1GiB",
              "Every other body, which is streamed; a longer one is answered 413.")
            .between(1, 1024 * 1024 * kGiB)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.max_upload_bytes; }));
    table.push_back(
        field("limits.max_known_resources", Type::integer, "100000",
              "Files, batches, stored responses and the like of which is remembered which backend "
              "and key hold them, about 300 bytes each; those not asked for longest go first.")
            .between(0, 100'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.max_known_resources; }));
    table.push_back(
        field("limits.header_timeout", Type::duration, "10s", "Time for a whole request head.")
            .between(kMillisecond, kHour)
            .bind([](Cursor & c) -> auto& { return c.root->server.header_timeout; }));
    table.push_back(
        field("limits.keepalive_timeout", Type::duration, "75s",
              "How long a client connection may stay idle between two requests.")
            .between(kMillisecond, kLongest)
            .bind([](Cursor & c) -> auto& { return c.root->server.keepalive_timeout; }));
    add_timeout_fields(table);
}

}  // namespace llmproxy::config
