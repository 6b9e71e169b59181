#include "llmproxy/upstream/backend.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "llmproxy/upstream/mock_provider.hpp"
#include "llmproxy/upstream/slot.hpp"

#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <charconv>
#include <openssl/evp.h>

namespace llmproxy::upstream {
namespace {

namespace asio = boost::asio;

std::size_t idle_cap(const Settings& shared)
{
    if (shared.max_idle_per_backend != 0) {
        return shared.max_idle_per_backend;
    }
    return std::clamp<std::size_t>(shared.backends.size() * 5, 10, 50);
}

core::Failure bad_url(std::string_view url)
{
    return {core::Errc::internal, core::Origin::self, "not a usable URL: " + std::string(url)};
}

std::string base64(std::string_view text)
{
    std::string out((text.size() + 2) / 3 * 4 + 1, '\0');
    const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                       reinterpret_cast<const unsigned char*>(text.data()),
                                       static_cast<int>(text.size()));
    out.resize(static_cast<std::size_t>(length));
    return out;
}

core::Result<net::EgressProxy> parse_proxy(std::string_view url, const net::ClientTlsSettings& tls)
{
    std::string rest(url);
    core::Secret authorization;
    const auto scheme = rest.find("://");
    const auto at = rest.rfind('@');
    if (scheme != std::string::npos && at != std::string::npos && at > scheme) {
        const auto user = rest.substr(scheme + 3, at - scheme - 3);
        authorization = core::Secret("Basic " + base64(user));
        rest.erase(scheme + 3, at - scheme - 2);
    }
    auto parsed = parse_base_url(rest);
    if (!parsed) {
        return parsed.error();
    }
    std::shared_ptr<SSL_CTX> context;
    if (parsed->tls) {
        auto made = net::make_client_context(tls);
        if (!made) {
            return made.error();
        }
        context = std::move(*made);
    }
    return net::EgressProxy(parsed->host, parsed->port, std::move(context),
                            std::move(authorization));
}

}  // namespace

core::Result<BaseUrl> parse_base_url(std::string_view url)
{
    BaseUrl out;
    auto rest = url;
    if (rest.starts_with("https://")) {
        out.tls = true;
        rest.remove_prefix(8);
    } else if (rest.starts_with("http://")) {
        rest.remove_prefix(7);
    } else {
        return bad_url(url);
    }
    const auto slash = rest.find('/');
    const auto authority = rest.substr(0, slash);
    if (slash != std::string_view::npos) {
        out.path = rest.substr(slash);
        while (out.path.ends_with('/')) {
            out.path.pop_back();
        }
    }
    auto port = std::string_view();
    if (authority.starts_with('[')) {
        const auto close = authority.find(']');
        if (close == std::string_view::npos) {
            return bad_url(url);
        }
        out.host = authority.substr(1, close - 1);
        if (close + 1 < authority.size()) {
            port = authority.substr(close + 2);
        }
    } else {
        const auto colon = authority.find(':');
        out.host = authority.substr(0, colon);
        if (colon != std::string_view::npos) {
            port = authority.substr(colon + 1);
        }
    }
    out.port = out.tls ? 443 : 80;
    if (!port.empty()) {
        const auto got = std::from_chars(port.data(), port.data() + port.size(), out.port);
        if (got.ec != std::errc() || got.ptr != port.data() + port.size()) {
            return bad_url(url);
        }
    }
    if (out.host.empty() || out.port == 0) {
        return bad_url(url);
    }
    out.authority = authority;
    return out;
}

Lease::Lease(std::shared_ptr<ConnectionPool> pool, std::unique_ptr<Connection> connection,
             policy::AdmissionGate::Permit permit, bool reused)
    : pool_(std::move(pool)), connection_(std::move(connection)), permit_(std::move(permit)),
      reused_(reused)
{
}

Lease::~Lease() = default;

void Lease::keep() noexcept
{
    pool_->give_back(std::move(connection_));
    permit_.release();
}

Backend::Backend(BackendSettings settings, const Settings& shared, Surroundings surroundings,
                 BaseUrl url)
    : settings_(std::move(settings)), surroundings_(surroundings), url_(std::move(url)),
      address_(url_.host.find(':') == std::string::npos
                   ? url_.host + ":" + std::to_string(url_.port)
                   : "[" + url_.host + "]:" + std::to_string(url_.port)),
      connect_timeout_(shared.connect_timeout), idle_timeout_(shared.idle_timeout),
      max_idle_(idle_cap(shared)),
      gate_(policy::AdmissionLimits{shared.max_connections_per_backend,
                                    shared.max_connections_per_backend}),
      inject_usage_(settings_.inject_usage == InjectUsage::automatic)
{
}

Backend::~Backend() = default;

core::Result<std::shared_ptr<Backend>>
Backend::make(BackendSettings settings, const Settings& shared, Surroundings surroundings)
{
    const bool mock = settings.provider == Provider::mock;
    auto url = parse_base_url(mock ? "http://mock/v1" : std::string_view(settings.base_url));
    if (!url) {
        return url.error();
    }
    std::shared_ptr<Backend> backend(
        new Backend(std::move(settings), shared, surroundings, std::move(*url)));
    if (mock) {
        backend->mock_ = std::make_shared<MockProvider>(backend->settings_.mock);
        return backend;
    }
    if (backend->url_.tls) {
        auto context = net::make_client_context(backend->settings_.tls);
        if (!context) {
            return context.error();
        }
        backend->tls_ = std::move(*context);
    }
    if (!backend->settings_.proxy.empty()) {
        auto egress = parse_proxy(backend->settings_.proxy, backend->settings_.tls);
        if (!egress) {
            return egress.error();
        }
        backend->egress_ = std::move(*egress);
    }
    return backend;
}

bool Backend::serves(std::string_view model) const noexcept
{
    return std::any_of(settings_.models.begin(), settings_.models.end(),
                       [&](const std::string& glob) { return core::glob_match(glob, model); });
}

const core::Secret& Backend::next_key() noexcept
{
    static const core::Secret none;
    const auto& keys = settings_.api_keys;
    if (keys.empty()) {
        return none;
    }
    return keys[next_key_.fetch_add(1, std::memory_order_relaxed) % keys.size()];
}

std::unique_ptr<Connection> Backend::take_idle()
{
    for (;;) {
        std::unique_ptr<Connection> candidate;
        {
            const std::lock_guard lock(mutex_);
            if (idle_.empty()) {
                return nullptr;
            }
            candidate = std::move(idle_.back());
            idle_.pop_back();
        }
        if (candidate->stream.idle_and_alive()) {
            return candidate;
        }
    }
}

void Backend::give_back(std::unique_ptr<Connection> connection) noexcept
{
    connection->buffer.release();
    connection->idle_since = std::chrono::steady_clock::now();
    std::unique_ptr<Connection> surplus;
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
    if (idle_.size() > max_idle_) {
        surplus = std::move(idle_.front());
        idle_.erase(idle_.begin());
    }
}

core::Task<core::Result<Lease>> Backend::lease(bool fresh, core::Deadline queue_until,
                                               net::Watchdog& watchdog)
{
    auto permit = co_await wait_for_slot(gate_, queue_until, watchdog);
    if (!permit) {
        co_return permit.error();
    }
    if (!fresh) {
        if (auto connection = take_idle()) {
            reuses_.fetch_add(1, std::memory_order_relaxed);
            co_return Lease(shared_from_this(), std::move(connection), std::move(*permit), true);
        }
    }
    auto stream = co_await open();
    if (!stream) {
        co_return stream.error();
    }
    connects_.fetch_add(1, std::memory_order_relaxed);
    auto connection = std::make_unique<Connection>(std::move(*stream));
    co_return Lease(shared_from_this(), std::move(connection), std::move(*permit), false);
}

core::Task<core::Result<net::Stream>> Backend::open()
{
    if (mock_) {
        co_return open_mock();
    }
    net::ConnectTarget target(url_.host, url_.port, tls_, egress_);
    const auto deadline = core::Deadline::after(std::chrono::steady_clock::now(), connect_timeout_);
    co_return co_await net::connect(surroundings_.resolver, std::move(target), deadline);
}

core::Result<net::Stream> Backend::open_mock()
{
    asio::local::stream_protocol::socket ours(surroundings_.context);
    const auto strand = asio::make_strand(surroundings_.context);
    asio::local::stream_protocol::socket theirs(strand);
    boost::system::error_code code;
    asio::local::connect_pair(ours, theirs, code);
    if (code) {
        return core::Failure(core::Errc::upstream_connect_failed, core::Origin::self,
                             "no socket pair for the mock provider", code);
    }
    auto server = std::make_shared<net::Stream>(net::Stream::Socket(std::move(theirs)));
    surroundings_.tasks.spawn(strand, mock_->serve(std::move(server)));
    return net::Stream(net::Stream::Socket(std::move(ours)));
}

void Backend::sweep(core::SteadyTime now)
{
    std::vector<std::unique_ptr<Connection>> dead;
    const std::lock_guard lock(mutex_);
    const auto is_dead = [&](const std::unique_ptr<Connection>& connection) {
        return now - connection->idle_since >= idle_timeout_ || connection->stream.peer_closed();
    };
    const auto first = std::stable_partition(
        idle_.begin(), idle_.end(), [&](const auto& connection) { return !is_dead(connection); });
    std::move(first, idle_.end(), std::back_inserter(dead));
    idle_.erase(first, idle_.end());
}

void Backend::close_idle() noexcept
{
    std::vector<std::unique_ptr<Connection>> all;
    const std::lock_guard lock(mutex_);
    all.swap(idle_);
}

std::size_t Backend::idle() const
{
    const std::lock_guard lock(mutex_);
    return idle_.size();
}

}  // namespace llmproxy::upstream
