#include "llmproxy/edge/server.hpp"

#include "listener.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "server_state.hpp"

namespace llmproxy::edge {
namespace {

core::Result<std::shared_ptr<const Current>> make_current(Settings settings)
{
    auto made = std::make_shared<Current>();
    for (const auto& text : settings.trusted_proxies) {
        auto cidr = net::Cidr::parse(text);
        if (!cidr) {
            return cidr.error();
        }
        made->trusted.push_back(*cidr);
    }
    for (const auto& listener : settings.listeners) {
        if (!listener.tls) {
            continue;
        }
        auto context = net::make_server_context(*listener.tls);
        if (!context) {
            return core::Failure(core::Errc::internal, core::Origin::self,
                                 "listener " + listener.name + ": " + context.error().describe());
        }
        made->tls.emplace(listener.name, std::move(*context));
    }
    made->settings = std::move(settings);
    return std::shared_ptr<const Current>(std::move(made));
}

}  // namespace

Server::Server(ServerParts parts, Settings settings) : state_(std::make_shared<State>(parts))
{
    auto initial = std::make_shared<Current>();
    initial->settings = std::move(settings);
    state_->replace(std::move(initial));
}

Server::~Server()
{
    state_->listeners.clear();  // a listener and the state it shares would keep each other alive
}

core::Result<void> Server::open()
{
    auto current = make_current(state_->current()->settings);
    if (!current) {
        return current.error();
    }
    for (const auto& settings : (*current)->settings.listeners) {
        auto listener = std::make_shared<Listener>(state_, settings);
        auto opened = listener->open();
        if (!opened) {
            state_->listeners.clear();
            return opened;
        }
        state_->listeners.push_back(std::move(listener));
    }
    state_->replace(std::move(*current));
    for (const auto& listener : state_->listeners) {
        listener->start();
    }
    return {};
}

std::uint16_t Server::port(std::string_view listener) const
{
    for (const auto& one : state_->listeners) {
        if (one->settings().name == listener) {
            return one->port();
        }
    }
    return 0;
}

std::vector<boost::asio::ip::tcp::endpoint> Server::endpoints() const
{
    std::vector<boost::asio::ip::tcp::endpoint> all;
    for (const auto& one : state_->listeners) {
        all.push_back(one->endpoint());
    }
    return all;
}

std::vector<std::pair<std::string, std::chrono::seconds>> Server::certificates() const
{
    std::vector<std::pair<std::string, std::chrono::seconds>> all;
    for (const auto& [listener, context] : state_->current()->tls) {
        if (const auto left = net::certificate_lifetime(*context)) {
            all.emplace_back(listener, *left);
        }
    }
    return all;
}

core::Result<void> Server::reload(Settings settings)
{
    // Addresses, roles and whether a listener speaks TLS need a restart: sessions ask by the running listeners' names.
    settings.threads = state_->current()->settings.threads;
    auto running = state_->current()->settings.listeners;
    for (auto& listener : running) {
        for (const auto& next : settings.listeners) {
            if (next.name == listener.name && next.tls && listener.tls) {
                const bool plain = listener.tls->allow_plain;
                listener.tls = next.tls;
                listener.tls->allow_plain = plain;
            }
        }
    }
    settings.listeners = std::move(running);
    auto current = make_current(std::move(settings));
    if (!current) {
        return current.error();
    }
    state_->replace(std::move(*current));
    return {};
}

void Server::start_draining()
{
    state_->draining = true;
}

void Server::close_listeners(bool all)
{
    for (const auto& listener : state_->listeners) {
        const auto& settings = listener->settings();
        if (all || settings.serves(Role::gateway) || settings.serves(Role::forward)) {
            listener->close();
        }
    }
}

void Server::close_idle()
{
    state_->registry.evict(state_->registry.size(), core::Duration::zero());
}

void Server::stop_sessions()
{
    state_->registry.stop_all();
}

std::size_t Server::active_requests() const noexcept
{
    return state_->active.load();
}

std::size_t Server::connections() const noexcept
{
    return state_->registry.size();
}

}  // namespace llmproxy::edge
