#pragma once

#include "server_state.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

namespace llmproxy::edge {

/// One listening socket and its accept loop, on a strand of its own.
class Server::Listener : public std::enable_shared_from_this<Server::Listener> {
public:
    Listener(std::shared_ptr<State> server, ListenerSettings settings);

    core::Result<void> open();
    void start();
    /// Any thread.
    void close();

    [[nodiscard]] const ListenerSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] std::uint16_t port() const noexcept { return endpoint_.port(); }
    /// As it was bound.
    [[nodiscard]] const boost::asio::ip::tcp::endpoint& endpoint() const noexcept
    {
        return endpoint_;
    }

private:
    core::Task<void> accept_loop();
    core::Task<void> pause(std::chrono::milliseconds time);

    std::shared_ptr<State> server_;
    ListenerSettings settings_;
    boost::asio::any_io_executor strand_;
    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer timer_;
    boost::asio::ip::tcp::endpoint endpoint_;
};

}  // namespace llmproxy::edge
