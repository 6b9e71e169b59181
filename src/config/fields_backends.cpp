#include "field.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kHour = 3600 * 1000 * kMillisecond;

Field backends_field()
{
    auto row = field("backends", Type::items, "[]", "The upstreams that requests are routed to.");
    row.open = [](Cursor& cursor) {
        cursor.backend = &cursor.root->upstream.backends.emplace_back();
    };
    row.count = [](Cursor& cursor) { return cursor.root->upstream.backends.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.backend = &cursor.root->upstream.backends.at(index);
    };
    row.example_more = "- name: mock\n"
                       "  provider: mock\n"
                       "  models: [\"mock-*\"]\n";
    return row;
}

void add_key_fields(std::vector<Field>& table)
{
    auto key = field(
        "backends[].api_key", Type::secret, "",
        "The credential sent to the backend. One that resolves to nothing disables the backend "
        "with a warning; leave the key out to send no credential.");
    key.unset_is_nothing = true;
    key.set = [](Cursor& cursor, const Value& value) {
        if (const auto& text = std::get<std::string>(value); !text.empty()) {
            cursor.backend->api_keys.emplace_back(text);
        }
    };
    table.push_back(std::move(key).show("${OPENAI_API_KEY}"));

    auto keys = field("backends[].api_keys", Type::secret_list, "[]",
                      "Several credentials to balance over, in place of `api_key`.");
    keys.unset_is_nothing = true;
    keys.set = [](Cursor& cursor, const Value& value) {
        for (const auto& text : std::get<std::vector<std::string>>(value)) {
            if (!text.empty()) {
                cursor.backend->api_keys.emplace_back(text);
            }
        }
    };
    keys.get = [](Cursor& cursor) -> Value {
        const auto count = cursor.backend->api_keys.size();
        if (count == 0 && !cursor.backend->disabled) {
            return {};
        }
        return std::vector<std::string>(count, "***");
    };
    table.push_back(
        std::move(keys).commented("[\"${OPENAI_API_KEY_1}\", \"${OPENAI_API_KEY_2}\"]"));

    auto file = field("backends[].api_key_file", Type::secret_file, "",
                      "A file that holds the credential, in place of `api_key`; line ends at its "
                      "end are cut off.");
    file.set = table[table.size() - 2].set;
    table.push_back(std::move(file).commented("/run/secrets/openai_api_key"));
}

void add_reach_fields(std::vector<Field>& table)
{
    table.push_back(field("backends[].tls.ca", Type::path, "",
                          "PEM file of CAs to trust in place of the system's.")
                        .bind([](Cursor & c) -> auto& { return c.backend->tls.ca; }));
    table.push_back(field("backends[].tls.certificate", Type::path, "",
                          "PEM file of our certificate, for backends that ask for one.")
                        .bind([](Cursor & c) -> auto& { return c.backend->tls.certificate; }));
    table.push_back(
        field("backends[].tls.key", Type::path, "", "PEM file of its private key.").bind([
        ](Cursor & c) -> auto& { return c.backend->tls.key; }));
    table.push_back(
        field("backends[].tls.insecure_skip_verify", Type::boolean, "false",
              "Do not verify the backend's certificate. Never outside a test.")
            .bind([](Cursor & c) -> auto& { return c.backend->tls.insecure_skip_verify; }));

    auto headers = field("backends[].headers", Type::string_map, "{}",
                         "Header fields added to every request to this backend.")
                       .bind([](Cursor & c) -> auto& { return c.backend->headers; });
    headers.masked = true;
    table.push_back(std::move(headers));

    auto proxy =
        field("backends[].proxy", Type::string, "",
              "`http(s)://[user:pass@]host:port`, an egress proxy to reach the backend by CONNECT; "
              "user and password may be percent-encoded. Before an `https://` backend the proxy "
              "must be `http://`.")
            .bind([](Cursor & c) -> auto& { return c.backend->proxy; });
    proxy.masked = true;
    table.push_back(std::move(proxy));

    table.push_back(one_of("backends[].inject_usage", {"auto", "off"}, "auto",
                           "Ask for usage figures in streams whose client did not.")
                        .bind([](Cursor & c) -> auto& { return c.backend->inject_usage; }));
}

void add_mock_fields(std::vector<Field>& table)
{
    const auto mock = [&table](Field row) {
        row.example_commented = true;
        table.push_back(std::move(row));
    };
    mock(field("backends[].mock.latency", Type::duration, "0s",
               "Mock provider: time before the first byte.")
             .between(0, kHour)
             .bind([](Cursor & c) -> auto& { return c.backend->mock.latency; }));
    mock(field("backends[].mock.chunk_interval", Type::duration, "0s",
               "Mock provider: time between two events of a stream.")
             .between(0, kHour)
             .bind([](Cursor & c) -> auto& { return c.backend->mock.chunk_interval; }));
    mock(field("backends[].mock.chunks", Type::integer, "8",
               "Mock provider: events with content in a stream.")
             .between(1, 1'000'000)
             .bind([](Cursor & c) -> auto& { return c.backend->mock.chunks; }));
    mock(field("backends[].mock.error_rate", Type::real, "0",
               "Mock provider: share of requests that are answered by `error_status`.")
             .between(0, 1)
             .bind([](Cursor & c) -> auto& { return c.backend->mock.error_rate; }));
    mock(field("backends[].mock.error_status", Type::integer, "500",
               "Mock provider: status of those answers.")
             .between(400, 599)
             .bind([](Cursor & c) -> auto& { return c.backend->mock.error_status; }));
}

}  // namespace

void add_backend_fields(std::vector<Field>& table)
{
    table.push_back(field("pool.max_connections_per_backend", Type::integer, "1024",
                          "Connections to one backend, idle ones included.")
                        .between(1, 1'000'000)
                        .bind([](Cursor & c) -> auto& {
                            return c.root->upstream.max_connections_per_backend;
                        }));
    auto idle =
        field("pool.max_idle_per_backend", Type::integer, "auto",
              "Idle connections kept per backend; `auto` is five times the number of backends, at "
              "least "
              "10 and at most 50.")
            .between(1, 1'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->upstream.max_idle_per_backend; });
    idle.keyword = "auto";
    table.push_back(std::move(idle));
    table.push_back(field("pool.idle_timeout", Type::duration, "10m",
                          "How long an idle connection to a backend is kept.")
                        .between(kMillisecond, 168 * kHour)
                        .bind([](Cursor & c) -> auto& { return c.root->upstream.idle_timeout; }));

    table.push_back(backends_field());
    table.push_back(
        field(
            "backends[].name", Type::string, "",
            "Unique name of `a-z`, `0-9`, `_` and `-`; in logs, metrics and `x-llm-proxy-backend`.")
            .bind([](Cursor & c) -> auto& { return c.backend->name; })
            .must()
            .show("openai"));
    table.push_back(one_of("backends[].provider", {"openai", "mock"}, "openai",
                           "`openai` speaks to any OpenAI-compatible API; `mock` answers by "
                           "itself, without a network.")
                        .bind([](Cursor & c) -> auto& { return c.backend->provider; }));
    table.push_back(field("backends[].base_url", Type::string, "",
                          "`http(s)://host[:port][/path]`; the path takes the place of `/v1`. "
                          "Required but for `mock`.")
                        .bind([](Cursor & c) -> auto& { return c.backend->base_url; })
                        .show("https://api.openai.com/v1"));
    add_key_fields(table);
    table.push_back(
        field("backends[].models", Type::string_list, "[]",
              "Patterns of the model names that this backend serves; `*` is any run of characters.")
            .bind([](Cursor & c) -> auto& { return c.backend->models; })
            .show("[\"gpt-*\", \"o*\", \"text-embedding-*\"]"));
    table.push_back(field("backends[].weight", Type::integer, "1",
                          "Share of the requests among backends of the same priority.")
                        .between(1, 1'000'000)
                        .bind([](Cursor & c) -> auto& { return c.backend->weight; }));
    table.push_back(field("backends[].priority", Type::integer, "0", "Lower values are used first.")
                        .between(-1000, 1000)
                        .bind([](Cursor & c) -> auto& { return c.backend->priority; }));
    add_reach_fields(table);
    add_backend_resilience_fields(table);
    add_mock_fields(table);
    table.push_back(
        field("default_backend", Type::string, "", "The backend for requests that name no model.")
            .bind([](Cursor & c) -> auto& { return c.root->pipeline.default_backend; })
            .show("openai"));
}

}  // namespace llmproxy::config
