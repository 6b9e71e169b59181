#pragma once

#include "support/http_text.hpp"
#include "support/wire.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::test {

/// How a response ended.
enum class BodyEnd : std::uint8_t {
    open,       ///< not ended yet
    complete,   ///< last chunk, content-length reached, or a status without a body
    closed,     ///< close-delimited and the connection ended cleanly
    cut_fin,    ///< FIN before the end
    cut_reset,  ///< RST before the end
    timeout,    ///< nothing for kGuard
    malformed,  ///< not HTTP
};

/// A response as a client saw it.
struct Response {
    int status = 0;  ///< 0: no head came
    Head head;
    std::vector<Head> interim;  ///< 1xx heads before it
    std::string body;
    std::vector<std::string>
        chunks;  ///< of a chunked body, as framed on the wire; without the last
    bool chunked = false;
    std::string trailers;  ///< lines after the last chunk
    BodyEnd end = BodyEnd::open;

    [[nodiscard]] bool complete() const noexcept { return end == BodyEnd::complete; }
    [[nodiscard]] bool cut() const noexcept
    {
        return end == BodyEnd::cut_fin || end == BodyEnd::cut_reset;
    }
};

/// One read of the socket: what came, and when.
struct Arrival {
    std::string bytes;
    TestTime at;
};

/// A raw HTTP/1.1 client on one connection: sends the bytes it is given, reads whatever comes.
/// Thread safety: none.
class TestClient {
public:
    explicit TestClient(std::uint16_t port, bool ipv6 = false) : wire_(Wire::connect(port, ipv6)) {}
    TestClient(std::uint16_t port, const std::shared_ptr<SSL_CTX>& tls, const std::string& sni)
        : wire_(Wire::connect(port))
    {
        tls_ok_ = wire_.connect_tls(tls, sni);
    }

    bool send(std::string_view bytes) { return wire_.send(bytes); }
    /// Sends pieces of `size` bytes, each in its own segment.
    bool send_in_pieces(std::string_view bytes, std::size_t size);

    /// Sends and reads one response.
    Response ask(std::string_view request);
    /// The next response whole. `to_head`: it answers HEAD, so it has no body.
    Response response(bool to_head = false);
    /// The next final head; interim ones are collected. The body is read by `piece`.
    Response head(bool to_head = false);
    /// One interim (1xx) head; nothing if something else came, which stays unread.
    std::optional<Head> interim();
    /// The next chunk, or with a length the next bytes; nothing at the end, which `response.end` then tells.
    std::optional<std::string> piece(Response& response);
    /// Reads the rest of the body.
    void finish(Response& response);

    /// Reads until `enough(buffer)`; false if the connection ended or the guard passed first.
    bool read_until(const std::function<bool(std::string_view)>& enough);
    /// Reads until the connection ends and returns how.
    ReadEnd read_to_end();
    /// What was read and not yet taken by a response.
    [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
    /// Every read so far.
    [[nodiscard]] const std::vector<Arrival>& arrivals() const noexcept { return arrivals_; }
    /// Whether anything (or an end) arrives within `limit`: for asserting silence.
    [[nodiscard]] bool anything(std::chrono::milliseconds limit)
    {
        return !buffer_.empty() || wire_.readable(limit);
    }

    [[nodiscard]] Wire& wire() noexcept { return wire_; }
    [[nodiscard]] bool tls_ok() const noexcept { return tls_ok_; }

private:
    ReadEnd fill();
    std::optional<std::string> line();
    std::optional<std::string> raw_head();
    BodyEnd ended(ReadEnd how, const Response& response) const;
    std::optional<std::string> chunk(Response& response);

    Wire wire_;
    bool tls_ok_ = false;
    std::string buffer_;
    std::vector<Arrival> arrivals_;
    ReadEnd last_ = ReadEnd::data;
    std::optional<std::uint64_t> left_;  // of a body with a length
};

}  // namespace llmproxy::test
