#include "findings.hpp"

#include "scalar.hpp"
#include "syntax.hpp"

#include <algorithm>
#include <set>

namespace llmproxy::config {
namespace {

constexpr std::size_t kShortest = 16;

/// A token and where it is written.
struct Held {
    const core::Secret* token;
    std::string key;   ///< of `token`
    std::string file;  ///< of `token_file`
};

bool is_good(const core::Secret& token)
{
    const auto& text = token.reveal();
    return text.size() >= kShortest &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

std::vector<Held> all_tokens(const Snapshot& snapshot, const Findings& findings)
{
    std::vector<Held> held;
    const auto& management = snapshot.management;
    if (!management.token.empty() || findings.given("management.token_file")) {
        held.push_back({&management.token, "management.token", "management.token_file"});
    }
    for (std::size_t i = 0; i < management.tokens.size(); ++i) {
        held.push_back({&management.tokens[i].token, indexed("management.tokens", i, "token"),
                        indexed("management.tokens", i, "token_file")});
    }
    return held;
}

void check_token(const Snapshot& snapshot, Findings& findings, const Held& held)
{
    const bool in_file = findings.given(held.file);
    const auto& key = in_file ? held.file : held.key;
    if (in_file && findings.given(held.key)) {
        findings.refuse(held.file, "only one of token and token_file");
    } else if (!in_file && !findings.given(held.key)) {
        findings.refuse(held.key, "a value, token or token_file; got nothing");
    } else if (!is_good(*held.token)) {
        findings.refuse(key, "a token of at least 16 visible ASCII characters, without spaces");
    }
    const auto& clients = snapshot.auth.static_tokens;
    if (std::any_of(clients.begin(), clients.end(),
                    [&](const auto& one) { return one.token == *held.token; })) {
        findings.refuse(key, "a token that no client has (auth.static_tokens)");
    }
}

void check_listeners(const Snapshot& snapshot, Findings& findings, bool any_token)
{
    bool any = false;
    const auto& listeners = snapshot.server.listeners;
    for (std::size_t i = 0; i < listeners.size(); ++i) {
        if (!listeners[i].serves(edge::Role::admin)) {
            continue;
        }
        any = true;
        const auto parsed = parse_host_port(listeners[i].address);
        const bool plain = !listeners[i].tls || listeners[i].tls->allow_plain;
        if (any_token && plain && parsed && !is_loopback(parsed->host)) {
            findings.warn(indexed("server.listeners", i, "serve"),
                          "admin on an address that is not loopback, without TLS: management "
                          "tokens cross the network in clear");
        }
        if (!any_token) {
            findings.warn(indexed("server.listeners", i, "serve"),
                          "admin, but there is no management token: /manage will refuse everybody");
        }
    }
    if (any_token && !any) {
        findings.warn("management",
                      "no listener serves admin: the management API is not reachable");
    }
}

}  // namespace

void check_management(Snapshot& snapshot, Findings& findings)
{
    const auto held = all_tokens(snapshot, findings);
    std::set<std::string> names{"admin"};
    const auto& tokens = snapshot.management.tokens;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (!tokens[i].name.empty() && !names.insert(tokens[i].name).second) {
            findings.refuse(indexed("management.tokens", i, "name"),
                            "a name that no other entry has, and not `admin`; got " +
                                yaml_text(tokens[i].name));
        }
    }
    for (std::size_t i = 0; i < held.size(); ++i) {
        check_token(snapshot, findings, held[i]);
        for (std::size_t other = 0; other < i; ++other) {
            if (!held[i].token->empty() && *held[other].token == *held[i].token) {
                findings.refuse(findings.given(held[i].file) ? held[i].file : held[i].key,
                                "a token that no other entry has");
            }
        }
    }
    check_listeners(snapshot, findings, !held.empty());
}

}  // namespace llmproxy::config
