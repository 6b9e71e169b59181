#include "field.hpp"

namespace llmproxy::config {
namespace {

Field static_tokens_field()
{
    auto row = field("auth.static_tokens", Type::items, "[]",
                     "Tokens that clients may present, for small set-ups.");
    row.open = [](Cursor& cursor) {
        cursor.token = &cursor.root->auth.static_tokens.emplace_back();
    };
    row.count = [](Cursor& cursor) { return cursor.root->auth.static_tokens.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.token = &cursor.root->auth.static_tokens.at(index);
    };
    return std::move(row).commented();
}

void add_logging_fields(std::vector<Field>& table)
{
    table.push_back(one_of("logging.level", {"trace", "debug", "info", "warn", "error"}, "info",
                           "The least severe diagnostics that are written.")
                        .bind([](Cursor & c) -> auto& { return c.root->logging.level; }));
    table.push_back(one_of("logging.format", {"json", "text"}, "json", "How diagnostics look.")
                        .bind([](Cursor & c) -> auto& { return c.root->logging.format; })
                        .restart());
    table.push_back(field("logging.path", Type::path, "stderr",
                          "Where diagnostics go: `stderr`, `stdout` or a file.")
                        .bind([](Cursor & c) -> auto& { return c.root->logging.path; })
                        .restart());
    table.push_back(
        field("logging.access_log.enabled", Type::boolean, "true", "Write one line per request.")
            .bind([](Cursor & c) -> auto& { return c.root->logging.access_log.enabled; })
            .restart());
    table.push_back(one_of("logging.access_log.format", {"json", "envoy"}, "json",
                           "How those lines look; `envoy` is Envoy's default text format.")
                        .bind([](Cursor & c) -> auto& { return c.root->logging.access_log.format; })
                        .restart());
    table.push_back(field("logging.access_log.path", Type::path, "stdout",
                          "Where those lines go: `stdout`, `stderr` or a file.")
                        .bind([](Cursor & c) -> auto& { return c.root->logging.access_log.path; })
                        .restart());
    table.push_back(
        field("logging.access_log.sample", Type::real, "1",
              "Share of the requests whose line is written, chosen by their ids. Those "
              "with an error, a failed attempt or a slow answer always are.")
            .between(0, 1)
            .bind([](Cursor & c) -> auto& { return c.root->logging.access_log.sample; }));
    table.push_back(
        field("logging.slow_request_threshold", Type::duration, "10s",
              "A request that takes longer is slow: its line is always written and says so. Of a "
              "stream the time to its first piece counts; 0 means none is slow.")
            .between(0, 86'400'000'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->server.slow_request_threshold; }));
    table.push_back(
        field("logging.bodies.enabled", Type::boolean, "false",
              "Write what users say: the beginnings of the bodies of inference requests "
              "and of their replies, keys and credentials masked.")
            .bind([](Cursor & c) -> auto& { return c.root->logging.bodies.enabled; })
            .restart());
    table.push_back(
        field("logging.bodies.max_bytes", Type::bytes, "4KiB", "How much of each body is written.")
            .between(1, 64 * 1024)
            .bind([](Cursor & c) -> auto& { return c.root->logging.bodies.max_bytes; })
            .restart());
    table.push_back(field("logging.bodies.path", Type::path, "bodies.log",
                          "The file that they are written to, readable by its owner and group.")
                        .bind([](Cursor & c) -> auto& { return c.root->logging.bodies.path; })
                        .restart());
    table.push_back(field("metrics.max_models", Type::integer, "100",
                          "Model names that become label values of the `gen_ai_*` metrics: the "
                          "first that an upstream "
                          "answers for. All others are `other`.")
                        .between(0, 1000)
                        .bind([](Cursor & c) -> auto& { return c.root->metrics.max_models; }));
    table.push_back(field("metrics.max_projects", Type::integer, "0",
                          "Names of projects that become label values of `llmproxy_cost_usd_total` "
                          "and `llmproxy_budget_used_ratio`: the first that are seen. All others "
                          "are `other`; with 0 the label stays empty.")
                        .between(0, 1000)
                        .bind([](Cursor & c) -> auto& { return c.root->metrics.max_projects; }));
    table.push_back(
        field("telemetry.recent_requests", Type::integer, "1000",
              "How many finished requests are kept in memory for `GET /manage/requests`; 0 means "
              "none.")
            .between(0, 20'000)
            .bind([](Cursor & c) -> auto& { return c.root->detail.recent_requests; })
            .restart());
}

}  // namespace

void add_auth_fields(std::vector<Field>& table)
{
    table.push_back(
        one_of("auth.mode", {"token", "open"}, "token",
               "`token`: requests need one; `open`: nobody is asked, on loopback addresses only.")
            .bind([](Cursor & c) -> auto& { return c.root->auth.mode; }));
    table.push_back(field("auth.allow_open", Type::boolean, "false",
                          "Allow `mode: open` on addresses that are not loopback.")
                        .bind([](Cursor & c) -> auto& { return c.root->auth.allow_open; }));
    table.push_back(static_tokens_field());
    table.push_back(field("auth.static_tokens[].name", Type::string, "",
                          "Unique name of whoever holds the token, in logs.")
                        .bind([](Cursor & c) -> auto& { return c.token->name; })
                        .must()
                        .show("ci"));
    table.push_back(field("auth.static_tokens[].token", Type::secret, "",
                          "The token: visible ASCII characters.")
                        .bind([](Cursor & c) -> auto& { return c.token->token; })
                        .show("${CI_TOKEN}"));
    auto file = field(
        "auth.static_tokens[].token_file", Type::secret_file, "",
        "A file that holds the token, in place of `token`; line ends at its end are cut off.");
    file.set = table.back().set;
    table.push_back(std::move(file).commented("/run/secrets/ci_token"));
    table.push_back(
        field("auth.static_tokens[].hosts", Type::string_list, "[]",
              "Where the token may go by the forward proxy, within `forward.allow` and in the same "
              "notation; an empty list: all of it.")
            .bind([](Cursor & c) -> auto& { return c.token->hosts; })
            .show("[api.openai.com]"));
    table.push_back(
        field("auth.token_cache_size", Type::integer, "100000",
              "Tokens of the store that are kept in memory; others are looked up when they come.")
            .between(1, 100'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->accounts.token_cache.size; })
            .restart());
    table.push_back(
        field("auth.unknown_token_ttl", Type::duration, "5s",
              "How long it is remembered that the store has no such token.")
            .between(0, 3'600'000'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->accounts.token_cache.unknown_ttl; })
            .restart());
    add_logging_fields(table);
}

}  // namespace llmproxy::config
