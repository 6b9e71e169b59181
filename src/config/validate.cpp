#include "validate.hpp"

#include "findings.hpp"
#include "scalar.hpp"
#include "syntax.hpp"

#include "llmproxy/core/host.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace llmproxy::config {
namespace {

bool is_backend_name(std::string_view name)
{
    return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == name.npos;
}

bool is_visible(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool is_https(std::string_view url)
{
    return core::iequals(url.substr(0, 8), "https://");
}

class Validator : private Findings {
public:
    using Findings::Findings;

    void run()
    {
        check_listeners();
        check_limits();
        check_backends();
        check_models();
        check_default_backend();
        check_forward();
        check_auth();
        check_prices(snapshot_, *this);
        check_store(snapshot_, *this);
        check_management(snapshot_, *this);
        check_tracing();
    }

private:
    [[nodiscard]] bool serves(edge::Role role) const
    {
        const auto& listeners = snapshot_.server.listeners;
        return std::any_of(listeners.begin(), listeners.end(),
                           [role](const auto& listener) { return listener.serves(role); });
    }

    void check_unique(std::set<std::string>& names, const std::string& name, const std::string& key)
    {
        if (!name.empty() && !names.insert(name).second) {
            refuse(key, "a name that no other entry has; got " + yaml_text(name));
        }
    }

    void check_listeners()
    {
        auto& listeners = snapshot_.server.listeners;
        if (listeners.empty()) {
            refuse("server.listeners", "at least one listener");
        }
        std::set<std::string> names;
        std::set<std::string> addresses;
        for (std::size_t i = 0; i < listeners.size(); ++i) {
            check_unique(names, listeners[i].name, indexed("server.listeners", i, "name"));
            check_address(addresses, listeners[i], indexed("server.listeners", i, "address"));
            if (listeners[i].proxy_protocol && snapshot_.server.trusted_proxies.empty()) {
                warn(indexed("server.listeners", i, "proxy_protocol"),
                     "server.trusted_proxies is empty: no PROXY header will be believed");
            }
        }
        const auto& proxies = snapshot_.server.trusted_proxies;
        for (std::size_t i = 0; i < proxies.size(); ++i) {
            if (!is_address_or_cidr(proxies[i])) {
                refuse("server.trusted_proxies[" + std::to_string(i) + "]",
                       "an address or a CIDR such as 10.0.0.0/8");
            }
        }
    }

    void check_address(std::set<std::string>& addresses, const edge::ListenerSettings& listener,
                       const std::string& key)
    {
        const auto parsed = parse_host_port(listener.address);
        if (!parsed) {
            refuse(key, "host:port or [v6]:port with a port from 0 to 65535; got " +
                            yaml_text(listener.address));
            return;
        }
        if (parsed->port != 0 && !addresses.insert(listener.address).second) {
            refuse(key,
                   "an address that no other listener has; got " + yaml_text(listener.address));
        }
        const bool serves_traffic =
            listener.serves(edge::Role::gateway) || listener.serves(edge::Role::forward);
        const auto& auth = snapshot_.auth;
        if (serves_traffic && auth.mode == auth::Mode::open && !auth.allow_open &&
            !is_loopback(parsed->host)) {
            refuse(key,
                   "a loopback address while auth.mode is open (or auth.allow_open: true); got " +
                       yaml_text(listener.address));
        }
    }

    void check_limits()
    {
        if (snapshot_.pipeline.max_body_bytes > snapshot_.pipeline.max_buffered_bytes) {
            const std::string key = given("limits.max_buffered_bytes") ? "limits.max_buffered_bytes"
                                                                       : "limits.max_body_bytes";
            refuse(key, "limits.max_body_bytes to be at most limits.max_buffered_bytes");
        }
    }

    void check_backends()
    {
        auto& backends = snapshot_.upstream.backends;
        std::set<std::string> names;
        for (std::size_t i = 0; i < backends.size(); ++i) {
            const auto key = [i](std::string_view name) { return indexed("backends", i, name); };
            check_unique(names, backends[i].name, key("name"));
            if (!is_backend_name(backends[i].name)) {
                refuse(key("name"),
                       "a name of a-z, 0-9, _ and -; got " + yaml_text(backends[i].name));
            }
            check_base_url(backends[i], key("base_url"));
            check_keys(backends[i], i);
            check_headers(backends[i].headers, key("headers"));
            check_reach(backends[i], i);
            for (std::size_t n = 0; n < backends[i].models.size(); ++n) {
                if (backends[i].models[n].empty()) {
                    refuse(key("models") + "[" + std::to_string(n) + "]",
                           "a pattern of model names; got an empty text");
                }
            }
        }
        const bool usable = std::any_of(backends.begin(), backends.end(),
                                        [](const auto& b) { return !b.disabled; });
        if (serves(edge::Role::gateway) && !usable) {
            warn("backends", "there is no usable backend: the gateway will answer no request");
        }
    }

    void check_models()
    {
        std::set<std::string> names;
        const auto& models = snapshot_.upstream.models;
        for (std::size_t i = 0; i < models.size(); ++i) {
            check_unique(names, models[i].name, indexed("models", i, "name"));
            const auto& targets = models[i].targets;
            bool usable = false;
            for (std::size_t n = 0; n < targets.size(); ++n) {
                const auto* const backend = backend_named(targets[n].backend);
                if (backend == nullptr) {
                    refuse(indexed("models", i, "targets") + "[" + std::to_string(n) + "].backend",
                           "the name of a backend; got " + yaml_text(targets[n].backend));
                }
                usable = usable || (backend != nullptr && !backend->disabled);
            }
            if (targets.empty()) {
                refuse(indexed("models", i, "targets"), "at least one target");
            } else if (!usable) {
                warn(indexed("models", i, "targets"),
                     "the model '" + models[i].name + "' has no usable backend");
            }
        }
    }

    [[nodiscard]] const upstream::BackendSettings* backend_named(const std::string& name) const
    {
        const auto& backends = snapshot_.upstream.backends;
        const auto found = std::find_if(backends.begin(), backends.end(),
                                        [&](const auto& one) { return one.name == name; });
        return found == backends.end() ? nullptr : &*found;
    }

    void check_base_url(const upstream::BackendSettings& backend, const std::string& key)
    {
        const bool needed = backend.provider == upstream::Provider::openai;
        if ((needed || !backend.base_url.empty()) &&
            !is_http_url(backend.base_url, {.userinfo = false, .path = true})) {
            refuse(key, "http(s)://host[:port][/path] without user, query and fragment");
        }
    }

    void check_keys(upstream::BackendSettings& backend, std::size_t index)
    {
        int ways = 0;
        std::string used;
        for (const auto* name : {"api_key", "api_keys", "api_key_file"}) {
            const auto key = indexed("backends", index, name);
            if (given(key)) {
                ++ways;
                used = key;
            }
        }
        if (ways > 1) {
            refuse(used, "only one of api_key, api_keys and api_key_file");
            return;
        }
        for (const auto& secret : backend.api_keys) {
            if (!is_visible(secret.reveal())) {
                refuse(used, "a secret of visible ASCII characters, without spaces and line ends");
            }
        }
        if (ways == 1 && backend.api_keys.empty()) {
            backend.disabled = true;
            warn(used, "resolves to nothing: backend '" + backend.name + "' is disabled");
        }
    }

    void check_headers(const std::map<std::string, std::string>& headers, const std::string& key)
    {
        std::set<std::string> seen;
        for (const auto& [name, value] : headers) {
            const auto entry = key + "." + name;
            std::string folded;
            std::transform(name.begin(), name.end(), std::back_inserter(folded), core::lower);
            if (!is_header_name(name)) {
                refuse(entry, "a header field name");
            } else if (is_reserved_header(name)) {
                refuse(entry, "a header field that the proxy does not set itself");
            } else if (!is_header_value(value)) {
                refuse(entry, "a header field value without control characters");
            } else if (!seen.insert(folded).second) {
                refuse(entry, "each header field once; case does not count");
            }
        }
    }

    void check_tracing()
    {
        const auto& tracing = snapshot_.tracing;
        if (!tracing.endpoint.empty() &&
            !is_http_url(tracing.endpoint, {.userinfo = false, .path = true})) {
            refuse("tracing.endpoint", "http(s)://host[:port][/path]");
        }
        check_headers(tracing.headers, "tracing.headers");
        const bool in_file = given("tracing.authorization_file");
        const auto* const key = in_file ? "tracing.authorization_file" : "tracing.authorization";
        if (in_file && given("tracing.authorization")) {
            refuse(key, "only one of authorization and authorization_file");
        } else if (!is_header_value(tracing.authorization.reveal())) {
            refuse(key, "a header field value without control characters");
        }
        if (tracing.endpoint.empty() && given("tracing")) {
            warn("tracing.endpoint", "is empty: there are no traces");
        }
    }

    void check_reach(const upstream::BackendSettings& backend, std::size_t index)
    {
        const auto& tls = backend.tls;
        if (tls.certificate.empty() != tls.key.empty()) {
            const auto* missing = tls.key.empty() ? "tls.key" : "tls.certificate";
            refuse(indexed("backends", index, missing), "certificate and key to be named together");
        }
        if (tls.insecure_skip_verify) {
            warn(indexed("backends", index, "tls.insecure_skip_verify"),
                 "the certificate of backend '" + backend.name + "' is not verified");
        }
        if (!backend.proxy.empty() &&
            !is_http_url(backend.proxy, {.userinfo = true, .path = false})) {
            refuse(indexed("backends", index, "proxy"), "http(s)://[user:pass@]host:port");
        } else if (is_https(backend.proxy) && is_https(backend.base_url)) {
            refuse(indexed("backends", index, "proxy"),
                   "an http:// proxy for a backend whose base_url is https://; TLS inside TLS is "
                   "not supported");
        }
        const auto& path = backend.health_check.path;
        if (!path.empty() && (path[0] != '/' || !is_visible(path) || path.find('#') != path.npos)) {
            refuse(indexed("backends", index, "health_check.path"),
                   "a path that begins with / and has no spaces; got " + yaml_text(path));
        }
    }

    void check_default_backend()
    {
        const auto& name = snapshot_.pipeline.default_backend;
        if (name.empty()) {
            return;
        }
        const auto* const backend = backend_named(name);
        if (backend == nullptr) {
            refuse("default_backend", "the name of a backend; got " + yaml_text(name));
        } else if (backend->disabled) {
            warn("default_backend", "names the disabled backend '" + name + "'");
        }
    }

    void check_patterns(const std::vector<std::string>& patterns, const std::string& key)
    {
        for (std::size_t i = 0; i < patterns.size(); ++i) {
            if (const auto pattern = core::HostPattern::parse(patterns[i]); !pattern) {
                refuse(key + "[" + std::to_string(i) + "]",
                       pattern.error().detail() + "; got " + yaml_text(patterns[i]));
            }
        }
    }

    void check_forward()
    {
        const auto& forward = snapshot_.forward.destinations;
        check_patterns(forward.allow, "forward.allow");
        const auto metadata = core::IpAddress::parse("169.254.169.254");
        for (std::size_t i = 0; i < forward.allow_private.size(); ++i) {
            const auto key = "forward.allow_private[" + std::to_string(i) + "]";
            const auto block = core::IpBlock::parse(forward.allow_private[i]);
            if (!block) {
                refuse(key, "an address or a CIDR such as 10.20.0.0/16; got " +
                                yaml_text(forward.allow_private[i]));
            } else if (metadata && block->contains(*metadata)) {
                warn(key, "holds 169.254.169.254, where clouds give out credentials");
            }
        }
        if (serves(edge::Role::forward) && forward.allow.empty()) {
            warn("forward.allow", "is empty: the forward proxy will refuse every destination");
        }
    }

    void check_auth()
    {
        const auto& tokens = snapshot_.auth.static_tokens;
        std::set<std::string> names;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            check_unique(names, tokens[i].name, indexed("auth.static_tokens", i, "name"));
            check_token(i);
            check_patterns(tokens[i].hosts, indexed("auth.static_tokens", i, "hosts"));
        }
        if (snapshot_.auth.mode == auth::Mode::token && tokens.empty()) {
            warn("auth.static_tokens", "there is no token: every request will be refused");
        }
    }

    void check_token(std::size_t index)
    {
        const auto& tokens = snapshot_.auth.static_tokens;
        const auto key = indexed("auth.static_tokens", index, "token");
        const auto file = indexed("auth.static_tokens", index, "token_file");
        const auto& shown = given(file) ? file : key;
        const auto& text = tokens[index].token;
        if (given(key) && given(file)) {
            refuse(file, "only one of token and token_file");
        } else if (given(key) || given(file)) {
            if (text.empty() || !is_visible(text.reveal())) {
                refuse_token(key, file, "a token of visible ASCII characters, without spaces");
            }
        } else {
            refuse(key, "a value, token or token_file; got nothing");
        }
        for (std::size_t other = 0; other < index; ++other) {
            if (!text.empty() && tokens[other].token == text) {
                refuse(shown, "a token that no other entry has");
            }
        }
    }

    void refuse_token(const std::string& key, const std::string& file, std::string expected)
    {
        refuse(given(file) ? file : key, std::move(expected));
    }
};

}  // namespace

void validate(Snapshot& snapshot, std::vector<Problem>& problems)
{
    Validator(snapshot, problems).run();
}

}  // namespace llmproxy::config
