#pragma once

#include "server_state.hpp"

#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <optional>

namespace llmproxy::edge {

/// One client connection from accept to close. Lives on its own strand; made shared, kept alive by its coroutine.
class Session : public std::enable_shared_from_this<Session> {
public:
    Session(std::shared_ptr<Server::State> server, ListenerSettings listener, net::Stream stream,
            boost::asio::any_io_executor strand, std::string address);
    ~Session();

    core::Task<void> run();

    /// Ends the session if it is between requests. Any thread.
    void evict();
    /// Ends the session whatever it does. Any thread.
    void stop();

private:
    enum class Waited : std::uint8_t { head, nothing, refused };

    /// Bytes have come that nobody has read: a request is on its way.
    bool has_unread();
    core::Task<bool> begin();
    /// The first byte that comes, left where it is.
    core::Task<std::optional<char>> first_byte();
    core::Task<bool> read_proxy_header();
    core::Task<Waited> wait_for_head();
    core::Task<bool> serve_one();
    core::Task<void> refuse(core::Failure failure);
    core::Task<void> linger();
    void describe(http::Exchange& exchange);
    void begin_trace(http::Exchange& exchange, bool believed);
    void close_record(telemetry::AccessRecord& record, core::SteadyTime started);
    void finish_request(telemetry::AccessRecord& record, core::SteadyTime started);
    core::Task<void> relay();
    void note_traffic();
    void report_progress_later();

    std::shared_ptr<Server::State> server_;
    std::shared_ptr<const Current> current_;
    std::uint64_t version_ = 0;  // of current_
    ListenerSettings listener_;
    net::Stream stream_;
    net::Buffer buffer_;
    net::Watchdog watchdog_;
    http::Peer peer_;
    Registry::Place place_;
    std::string raw_head_;
    http::RequestHead head_;
    struct Tunnelled;
    std::unique_ptr<Tunnelled> tunnelled_;  // the connection has become a tunnel
    bool first_ = true;
    bool idle_ = true;
};

}  // namespace llmproxy::edge
