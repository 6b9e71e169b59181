#include "llmproxy/upstream/backend.hpp"

#include "llmproxy/core/base64.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/upstream/mock_provider.hpp"
#include "llmproxy/upstream/slot.hpp"

#include "egress_url.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <openssl/sha.h>

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

/// The beginning of the key's SHA-256.
std::uint64_t fingerprint(const core::Secret& key)
{
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    const auto& text = key.reveal();
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    std::uint64_t id = 0;
    std::memcpy(&id, digest.data(), sizeof id);
    return id;
}

core::Failure bad_url(std::string_view url)
{
    return {core::Errc::internal, core::Origin::self, "not a usable URL: " + std::string(url)};
}

}  // namespace

core::Result<BaseUrl> parse_base_url(std::string_view url)
{
    BaseUrl out;
    auto rest = url;
    const auto begins = [&](std::string_view scheme) {  // in any case (RFC 3986, section 3.1)
        return core::iequals(rest.substr(0, scheme.size()), scheme);
    };
    if (begins("https://")) {
        out.tls = true;
        rest.remove_prefix(8);
    } else if (begins("http://")) {
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
        const auto number = core::parse_number<std::uint16_t>(port);
        if (!number) {
            return bad_url(url);
        }
        out.port = *number;
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

Backend::Backend(BackendSettings settings, const Settings& shared,
                 const policy::CircuitSettings& circuit, Surroundings surroundings, BaseUrl url)
    : settings_(std::move(settings)), surroundings_(surroundings), url_(std::move(url)),
      address_(url_.host.find(':') == std::string::npos
                   ? url_.host + ":" + std::to_string(url_.port)
                   : "[" + url_.host + "]:" + std::to_string(url_.port)),
      connect_timeout_(shared.connect_timeout), idle_timeout_(shared.idle_timeout),
      max_idle_(idle_cap(shared)), max_connections_(shared.max_connections_per_backend),
      gate_(policy::AdmissionLimits{max_connections_, max_connections_}),
      circuit_(circuit, surroundings.clock),
      health_(std::make_shared<policy::BackendHealth>(settings_.health_check, surroundings.clock)),
      load_(std::make_shared<policy::BackendLoad>(surroundings.clock)),
      keys_(settings_.api_keys.size(), surroundings.clock),
      inject_usage_(settings_.inject_usage == InjectUsage::automatic)
{
    for (const auto& key : settings_.api_keys) {
        key_ids_.push_back(fingerprint(key));
    }
}

Backend::~Backend() = default;

bool Backend::can_stay(const BackendSettings& settings, const Settings& shared) const
{
    const auto& tls = settings.tls;
    const bool has_files = !tls.ca.empty() || !tls.certificate.empty() || !tls.key.empty();
    return !has_files && settings_ == settings && connect_timeout_ == shared.connect_timeout &&
           idle_timeout_ == shared.idle_timeout && max_idle_ == idle_cap(shared) &&
           max_connections_ == shared.max_connections_per_backend;
}

void Backend::learn_from(const Backend& before)
{
    if (address_ == before.address_ && settings_.proxy == before.settings_.proxy) {
        circuit_ = before.circuit_;
        load_ = before.load_;
    } else if (const auto circuit = before.circuit_.report(); circuit.held) {
        circuit.state == policy::CircuitState::open ? circuit_.hold_open() : circuit_.hold_closed();
    }
    if (settings_.health_check == before.settings_.health_check && address_ == before.address_) {
        health_ = before.health_;
    }
}

core::Result<std::shared_ptr<Backend>> Backend::make(BackendSettings settings,
                                                     const Settings& shared,
                                                     const policy::CircuitSettings& circuit,
                                                     Surroundings surroundings)
{
    const bool mock = settings.provider == Provider::mock;
    auto url = parse_base_url(mock ? "http://mock/v1" : std::string_view(settings.base_url));
    if (!url) {
        return url.error();
    }
    std::shared_ptr<Backend> backend(
        new Backend(std::move(settings), shared, circuit, surroundings, std::move(*url)));
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
        auto egress = parse_egress_url(backend->settings_.proxy, backend->settings_.tls);
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

const core::Secret& Backend::key(std::size_t index) const noexcept
{
    static const core::Secret none;
    const auto& keys = settings_.api_keys;
    return index < keys.size() ? keys[index] : none;
}

std::uint64_t Backend::key_id(std::size_t index) const noexcept
{
    return index < key_ids_.size() ? key_ids_[index] : 0;
}

std::optional<std::size_t> Backend::key_with(std::uint64_t id) const noexcept
{
    const auto found = std::find(key_ids_.begin(), key_ids_.end(), id);
    if (found == key_ids_.end()) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - key_ids_.begin());
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

std::optional<Lease> Backend::lease_pooled()
{
    auto permit = gate_.try_enter();
    auto connection = permit ? take_idle() : nullptr;
    if (!connection) {
        return std::nullopt;
    }
    reuses_.fetch_add(1, std::memory_order_relaxed);
    surroundings_.metrics.upstream_reuse(name());
    return Lease(shared_from_this(), std::move(connection), std::move(permit), true);
}

core::Task<core::Result<Lease>> Backend::lease(bool fresh, core::Deadline queue_until,
                                               core::Deadline total, net::Watchdog& watchdog,
                                               LeaseTimes& times)
{
    const auto began = std::chrono::steady_clock::now();
    auto permit = co_await wait_for_slot(gate_, queue_until, watchdog);
    times.queue = std::chrono::steady_clock::now() - began;
    if (!permit) {
        co_return permit.error();
    }
    if (!fresh) {
        if (auto connection = take_idle()) {
            reuses_.fetch_add(1, std::memory_order_relaxed);
            surroundings_.metrics.upstream_reuse(name());
            co_return Lease(shared_from_this(), std::move(connection), std::move(*permit), true);
        }
    }
    auto stream = co_await open(total, watchdog, times.connect);
    surroundings_.metrics.upstream_connect(name(),
                                           stream ? core::Errc::none : stream.error().errc());
    if (!stream) {
        co_return stream.error();
    }
    connects_.fetch_add(1, std::memory_order_relaxed);
    auto connection = std::make_unique<Connection>(std::move(*stream));
    co_return Lease(shared_from_this(), std::move(connection), std::move(*permit), false);
}

core::Task<core::Result<net::Stream>> Backend::open(core::Deadline total, net::Watchdog& watchdog,
                                                    net::ConnectTimes& took)
{
    if (mock_) {
        co_return open_mock();
    }
    net::ConnectTarget target(url_.host, url_.port, tls_, egress_);
    const auto deadline =
        core::Deadline::after(std::chrono::steady_clock::now(), connect_timeout_).min(total);
    auto stream = co_await net::connect_while_wanted(surroundings_.resolver, std::move(target),
                                                     deadline, watchdog, &took);
    if (stream && took.tls >= core::Duration::zero()) {
        surroundings_.metrics.tls_handshake("upstream", took.tls);
    }
    const bool out_of_time = !stream && stream.error().cause() == asio::error::timed_out &&
                             total.passed(std::chrono::steady_clock::now());
    if (out_of_time) {
        co_return core::Failure(core::Errc::upstream_timeout, core::Origin::upstream,
                                stream.error().detail(), stream.error().cause());
    }
    co_return stream;
}

core::Task<core::Result<net::Stream>> Backend::connect(core::Deadline deadline)
{
    if (mock_) {
        co_return open_mock();
    }
    net::ConnectTarget target(url_.host, url_.port, tls_, egress_);
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
