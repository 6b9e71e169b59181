#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/http/body_reader.hpp"
#include "llmproxy/http/head.hpp"
#include "llmproxy/http/tunnel.hpp"
#include "llmproxy/net/watchdog.hpp"
#include "llmproxy/telemetry/access_record.hpp"
#include "llmproxy/telemetry/body_log.hpp"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::http {

/// What is known of the connection a request came on.
struct Peer {
    std::string address;   ///< of the client: the socket's, or what PROXY protocol said
    std::string listener;  ///< name of the listener
    bool tls = false;
    bool trusted = false;  ///< the socket's peer is in trusted_proxies
};

/// One request and its answer on a client connection: reads the body piece by piece, writes the answer the same way.
///
/// Everything waits under the session's watchdog; what ended a wait early is in the failure: Errc::client_gone,
/// Errc::request_timeout (the client was too slow), Errc::cancelled (shutdown).
/// Thread safety: none; lives on the session's strand. At most one body read and one write at a time.
/// Lifetime: made by `edge` for one request; the head's views point into the session's head bytes and live as long.
class Exchange {
public:
    Exchange(net::Stream& client, net::Buffer& buffer, net::Watchdog& watchdog, const Peer& peer,
             RequestHead& head, core::Duration write_timeout);
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;

    [[nodiscard]] const RequestHead& head() const noexcept { return head_; }
    [[nodiscard]] const Peer& peer() const noexcept { return peer_; }
    [[nodiscard]] net::Stream& client() noexcept { return client_; }
    [[nodiscard]] net::Buffer& buffer() noexcept { return buffer_; }
    [[nodiscard]] net::Watchdog& watchdog() noexcept { return watchdog_; }

    /// What the access log and the metrics get of this request; written once, by `edge`, when it is over.
    telemetry::AccessRecord record;
    core::SteadyTime started;                         ///< when the head was complete
    std::unique_ptr<telemetry::LoggedBodies> bodies;  ///< to be logged; null: they are not
    /// Whether the connection may serve another request afterwards. Set to false by whoever makes that impossible.
    bool keep_alive = true;
    core::Errc refused = core::Errc::none;  ///< what reply_error answered with, if it was called
    bool draining = false;                  ///< say `Connection: close` and mean it
    /// Set by a handler whose answer made the connection a tunnel: the session lets go of head and buffers, then relays.
    std::unique_ptr<PendingTunnel> tunnel;

    /// Appends the next body bytes to `runs`, views valid until the next call; none at the end of the body.
    /// Sends `100 Continue` first if the client waits for it (RFC 9110, section 10.1.1).
    core::Task<core::Result<void>> read_body(std::vector<std::string_view>& runs,
                                             core::Deadline deadline);
    /// The same without waiting, for what has come already: false if `read_body` must follow, `runs` are empty then.
    core::Result<bool> take_body(std::vector<std::string_view>& runs);
    /// Gives the room of the bytes that were read last back.
    void drop_body() noexcept { body_.drop(); }
    [[nodiscard]] bool body_done() const noexcept { return body_.done(); }
    [[nodiscard]] std::uint64_t body_bytes() const noexcept { return body_bytes_; }

    /// Writes pieces as they are, under write_timeout. The first call is the commit point.
    core::Task<core::Result<void>> write(std::span<const std::string_view> pieces);
    /// The same without waiting: false if the socket did not take all, `write_rest` with the same pieces must follow.
    core::Result<bool> write_now(std::span<const std::string_view> pieces);
    core::Task<core::Result<void>> write_rest(std::span<const std::string_view> pieces);
    /// An interim response (1xx), whole; does not commit.
    core::Task<core::Result<void>> write_interim(std::string_view bytes);
    [[nodiscard]] bool committed() const noexcept { return committed_; }
    [[nodiscard]] std::uint64_t sent_bytes() const noexcept { return sent_bytes_; }

    /// Writes a whole answer: status line, `fields` (complete lines), Content-Length, Connection, body unless HEAD.
    core::Task<core::Result<void>> reply(unsigned status, std::string_view fields,
                                         std::string_view body);
    /// Answers with the failure's row of the error table in OpenAI's shape, or nothing once committed.
    /// \param fields  further complete field lines, e.g. Retry-After.
    core::Task<void> reply_error(const core::Failure& failure, std::string_view fields = {});

    /// The answer ends here unfinished: the connection is closed, by RST where FIN could be taken for completion.
    void cut(bool by_reset) noexcept;
    [[nodiscard]] bool was_cut() const noexcept { return cut_; }
    [[nodiscard]] bool reset_wanted() const noexcept { return reset_; }

    /// Why a wait on the client ended early, as a failure; `when_expired` if it was the deadline.
    [[nodiscard]] core::Failure failure_of(const boost::system::error_code& code,
                                           core::Errc when_expired) const;

private:
    core::Failure write_failed(const boost::system::error_code& code);

    net::Stream& client_;
    net::Buffer& buffer_;
    net::Watchdog& watchdog_;
    const Peer& peer_;
    RequestHead& head_;
    core::Duration write_timeout_;
    BodyReader body_;
    std::uint64_t body_bytes_ = 0;
    std::uint64_t sent_bytes_ = 0;
    std::size_t written_ = 0;  // by write_now, of the pieces it was given
    bool continue_due_;
    bool committed_ = false;
    bool cut_ = false;
    bool reset_ = false;
};

/// The reason phrase of a status code (RFC 9110, section 15); empty for unknown ones.
[[nodiscard]] std::string_view reason_of(unsigned status) noexcept;

/// Appends `HTTP/1.1 status reason\r\n`.
void append_status_line(std::string& out, unsigned status, std::string_view reason);

}  // namespace llmproxy::http
