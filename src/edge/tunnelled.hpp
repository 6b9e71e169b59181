#pragma once

#include "session.hpp"

#include "llmproxy/http/tunnel.hpp"

#include <boost/asio/steady_timer.hpp>

namespace llmproxy::edge {

/// What a session keeps of the request whose answer made its connection a tunnel.
struct Session::Tunnelled {
    explicit Tunnelled(http::Exchange& exchange)
        : pending(std::move(*exchange.tunnel)), record(std::move(exchange.record)),
          started(exchange.started)
    {
    }
    http::PendingTunnel pending;
    http::TunnelTraffic traffic;
    telemetry::AccessRecord record;
    core::SteadyTime started;
    std::unique_ptr<boost::asio::steady_timer> progress;
};

}  // namespace llmproxy::edge
