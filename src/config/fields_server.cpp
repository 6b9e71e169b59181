#include "field.hpp"

#include <array>

namespace llmproxy::config {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kHour = 3600 * 1000 * kMillisecond;

struct RoleName {
    std::string_view name;
    edge::Role role;
};

constexpr std::array<RoleName, 5> kRoles{{
    {"gateway", edge::Role::gateway},
    {"forward", edge::Role::forward},
    {"health", edge::Role::health},
    {"admin", edge::Role::admin},
    {"metrics", edge::Role::metrics},
}};

Field roles_field()
{
    auto row = field(
        "server.listeners[].serve", Type::enumeration_list, "",
        "What the listener answers. `health` is `/healthz`, `/livez` and `/readyz`; `admin` is "
        "`/manage` and `/admin`.");
    for (const auto& [name, role] : kRoles) {
        row.choices.emplace_back(name);
    }
    row.set = [](Cursor& cursor, const Value& value) {
        cursor.listener->roles = 0;
        for (const auto& given : std::get<std::vector<std::string>>(value)) {
            for (const auto& [name, role] : kRoles) {
                cursor.listener->roles |= given == name ? static_cast<std::uint8_t>(role) : 0;
            }
        }
    };
    row.get = [](Cursor& cursor) -> Value {
        std::vector<std::string> names;
        for (const auto& [name, role] : kRoles) {
            if (cursor.listener->serves(role)) {
                names.emplace_back(name);
            }
        }
        return names;
    };
    return std::move(row).must().restart().show("[gateway, health]");
}

Field listeners_field()
{
    auto row = field("server.listeners", Type::items,
                     "[{name: main, address: \"127.0.0.1:8888\", serve: [gateway, health]}, "
                     "{name: admin, address: \"127.0.0.1:8889\", serve: [metrics, health]}]",
                     "Addresses to listen on, each with the roles that it serves.");
    row.open = [](Cursor& cursor) {
        cursor.listener = &cursor.root->server.listeners.emplace_back();
    };
    row.count = [](Cursor& cursor) { return cursor.root->server.listeners.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.listener = &cursor.root->server.listeners.at(index);
    };
    row.example_more =
        "- name: admin\n"
        "  address: 127.0.0.1:8889\n"
        "  serve: [metrics, health]               # admin too, once there is a management token\n";
    return row;
}

Field listener_tls_field()
{
    auto row = field("server.listeners[].tls", Type::section, "",
                     "Speak TLS here; leave it out for plain HTTP.");
    row.open = [](Cursor& cursor) { cursor.listener->tls.emplace(); };
    row.count = [](Cursor& cursor) -> std::size_t { return cursor.listener->tls ? 1 : 0; };
    row.select = [](Cursor&, std::size_t) {};
    return std::move(row).restart().commented();
}

void add_listener_fields(std::vector<Field>& table)
{
    table.push_back(listeners_field());
    table.push_back(field("server.listeners[].name", Type::string, "",
                          "Unique name, in logs and for passed sockets (`LISTEN_FDNAMES`).")
                        .bind([](Cursor & c) -> auto& { return c.listener->name; })
                        .must()
                        .restart()
                        .show("main"));
    table.push_back(field("server.listeners[].address", Type::string, "",
                          "`host:port`, `[v6]:port`; port 0 lets the system choose.")
                        .bind([](Cursor & c) -> auto& { return c.listener->address; })
                        .must()
                        .restart()
                        .show("127.0.0.1:8888"));
    table.push_back(roles_field());
    table.push_back(listener_tls_field());
    table.push_back(field("server.listeners[].tls.certificate", Type::path, "",
                          "PEM file of the certificate and its chain.")
                        .bind([](Cursor & c) -> auto& { return c.listener->tls->certificate; })
                        .must()
                        .show("certs/server.crt"));
    table.push_back(
        field("server.listeners[].tls.key", Type::path, "", "PEM file of its private key.")
            .bind([](Cursor & c) -> auto& { return c.listener->tls->key; })
            .must()
            .show("certs/server.key"));
    table.push_back(
        field("server.listeners[].tls.client_ca", Type::path, "",
              "PEM file of CAs; when set, clients must show a certificate of one of them.")
            .bind([](Cursor & c) -> auto& { return c.listener->tls->client_ca; }));
    table.push_back(field("server.listeners[].tls.allow_plain", Type::boolean, "false",
                          "Speak plain HTTP on the same port too; a first byte of 0x16 means TLS.")
                        .bind([](Cursor & c) -> auto& { return c.listener->tls->allow_plain; })
                        .restart());
    table.push_back(
        field("server.listeners[].proxy_protocol", Type::boolean, "false",
              "Expect a PROXY protocol header (v1 or v2) from `server.trusted_proxies`.")
            .bind([](Cursor & c) -> auto& { return c.listener->proxy_protocol; })
            .restart());
}

}  // namespace

void add_server_fields(std::vector<Field>& table)
{
    table.push_back(field("server.threads", Type::integer, "0",
                          "Threads that run sessions; 0 means one per core.")
                        .between(0, 1024)
                        .bind([](Cursor & c) -> auto& { return c.root->server.threads; })
                        .restart());
    table.push_back(field("server.drain_delay", Type::duration, "0s",
                          "After SIGTERM `/readyz` turns 503 at once; gateway and forward "
                          "listeners close this much "
                          "later.")
                        .between(0, kHour)
                        .bind([](Cursor & c) -> auto& { return c.root->server.drain_delay; }));
    table.push_back(
        field("server.drain_timeout", Type::duration, "30s",
              "How long requests in flight may take to finish once the listeners are closed.")
            .between(0, 24 * kHour)
            .bind([](Cursor & c) -> auto& { return c.root->server.drain_timeout; }));
    table.push_back(field("server.max_connections", Type::integer, "10000",
                          "Client connections open at once, over all listeners.")
                        .between(1, 10'000'000)
                        .bind([](Cursor & c) -> auto& { return c.root->server.max_connections; }));
    table.push_back(
        field("server.trusted_proxies", Type::string_list, "[]",
              "Addresses or CIDRs whose `X-Forwarded-For` and `X-Request-Id` are believed. With an "
              "empty list everybody's `X-Request-Id` is kept.")
            .bind([](Cursor & c) -> auto& { return c.root->server.trusted_proxies; }));
    add_listener_fields(table);
}

}  // namespace llmproxy::config
