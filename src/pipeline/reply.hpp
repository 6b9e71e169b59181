#pragma once

#include "request_context.hpp"
#include "upload.hpp"

#include "llmproxy/openai/inflater.hpp"
#include "llmproxy/openai/reply_scanner.hpp"
#include "llmproxy/openai/stream_scanner.hpp"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::pipeline {

/// An upstream's head and the bytes its views point to.
struct ReplyHead {
    std::string raw;
    http::ResponseHead head;
    bool any_byte = false;  ///< something came, even if no whole head did
};

/// Reads the head of the reply; interim heads (1xx) are passed on or dropped (RFC 9110, section 15.2).
/// Fails with Errc::upstream_reset, upstream_timeout, upstream_bad_response, client_gone or cancelled.
/// An upload that awaits `100 Continue` is started by it, or after a second without.
core::Task<core::Result<void>> read_reply_head(RequestContext& context, upstream::Lease& lease,
                                               Upload& upload, ReplyHead& out);

/// Passes a 101 on to the client: what follows is a tunnel.
core::Task<core::Result<void>> pass_upgrade(RequestContext& context, const ReplyHead& reply);

/// Passes a reply on to the client, piece by piece as it comes, and reads its usage beside that.
class Relay {
public:
    Relay(RequestContext& context, upstream::Lease& lease, const Upload& upload, ReplyHead& reply);

    /// Relays everything. Fails only before the first byte went to the client; after it, what goes wrong cuts the
    /// reply and stands in the record.
    /// \param held  the beginning of the body that was read before, e.g. to mask it; nullptr for none.
    core::Task<core::Result<void>> run();

    /// Reads a small error body whole so that it can be looked at before it is relayed; at most 64 KiB.
    /// False: it is longer, what was read is kept and relayed first.
    core::Task<core::Result<bool>> hold_error_body();
    [[nodiscard]] std::string& held_body() noexcept { return held_; }

private:
    void compose_head();
    /// Takes what has come of the body and scans it; false on trouble.
    bool take_piece();
    void scan();
    void drop_piece();
    /// After the last piece: usage, connection. False if the stream lacks its end.
    bool end_body();
    void finish_scan();
    /// Writes `relay_`, framed, in two steps: without waiting, and if that returns false the rest. Failures are trouble.
    bool write_now(bool last);
    core::Task<void> write_rest();
    void note_written();
    std::string_view chunk_line(std::size_t size);
    /// Ends the reply unfinished because of the trouble.
    core::Task<core::Result<void>> cut();
    core::Failure upstream_failure(const boost::system::error_code& code) const;
    void note_usage();
    void give_connection_back();

    RequestContext& context_;
    upstream::Lease& lease_;
    const Upload& upload_;
    ReplyHead& reply_;
    http::BodyReader reader_;
    net::Buffer last_;    // what the last piece is in, once the connection has gone back
    std::string head_;    // composed, until it is sent
    std::string held_;    // body bytes read before the relay
    std::string joined_;  // runs put together for the scanner while it hides
    std::string inflated_;
    std::optional<openai::StreamScanner> stream_;
    std::optional<openai::ReplyScanner> json_;
    std::optional<openai::Inflater> inflater_;
    openai::ReplyFacts whole_;
    std::vector<std::string_view> runs_;    // body bytes as they came
    std::vector<std::string_view> relay_;   // what of them is passed on
    std::vector<std::string_view> pieces_;  // that with head and framing
    std::size_t pending_ = 0;               // body bytes among `pieces_`
    std::optional<core::Failure> trouble_;  // why the relay cannot go on
    std::array<char, 24> line_{};           // the chunk's size line
    bool sse_ = false;
    bool chunked_out_ = false;
    bool head_sent_ = false;
    bool scanned_whole_ = false;
    bool scanned_held_ = false;
};

}  // namespace llmproxy::pipeline
