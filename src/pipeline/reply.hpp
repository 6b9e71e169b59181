#pragma once

#include "request_context.hpp"
#include "upload.hpp"

#include "llmproxy/openai/inflater.hpp"
#include "llmproxy/openai/reply_scanner.hpp"
#include "llmproxy/openai/resource_ids.hpp"
#include "llmproxy/openai/stream_scanner.hpp"
#include "llmproxy/policy/reply_classifier.hpp"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
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

/// The fields of a reply that say when to come back.
[[nodiscard]] policy::RetryHeaders retry_headers(const http::Fields& fields) noexcept;

/// The head of the client's answer for a reply of an upstream; says in the exchange what becomes of the connection.
/// \param chunked  set to whether the body is to be framed in chunks.
[[nodiscard]] std::string compose_reply_head(RequestContext& context,
                                             const http::ResponseHead& reply, bool& chunked);

/// Passes a reply on to the client, piece by piece as it comes, and reads its usage beside that.
class Relay {
public:
    /// How a relay ended, for the circuit of the backend.
    enum class End : std::uint8_t { complete, cut_upstream, cut_here };

    /// \param may_retry  whether an error frame first in a stream may still lead to another attempt.
    Relay(RequestContext& context, upstream::Lease& lease, const Upload& upload, ReplyHead& reply,
          bool may_retry);

    /// Relays everything. Fails only before the first byte went to the client; after it, what goes wrong cuts the
    /// reply and stands in the record. Stops before the first byte if `refusal` says why; called again it goes on.
    core::Task<core::Result<void>> run();
    [[nodiscard]] End end() const noexcept { return end_; }

    /// What the first block of the stream says if it is an error frame; nothing if it was not looked at.
    [[nodiscard]] const std::optional<policy::ReplyVerdict>& refusal() const noexcept
    {
        return refusal_;
    }

    /// Reads a small error body whole so that it can be looked at before it is relayed; at most 64 KiB.
    /// False: it is longer, what was read is kept and relayed first.
    core::Task<core::Result<bool>> hold_error_body();
    [[nodiscard]] std::string& held_body() noexcept { return held_; }
    /// The reply was read to its end: gives its connection back before it is relayed or dropped.
    void give_connection_back();

private:
    /// Takes what has come of the body and scans it; false on trouble. While the head is held it only looks.
    bool take_piece();
    bool look_at_beginning();
    bool take_runs();
    void scan();
    void learn_ids(std::string_view bytes);
    void drop_piece();
    /// After the last piece: usage, connection. False if the stream lacks its end.
    bool end_body();
    void finish_scan();
    /// Writes `relay_`, framed, in two steps: without waiting, and if that returns false the rest. Failures are trouble.
    bool write_now(bool last);
    core::Task<void> write_rest();
    void note_written();
    std::string_view chunk_line(std::size_t size);
    /// Whether a stream has used more than was reserved, where that has to end it.
    [[nodiscard]] bool has_used_up();
    /// Whether the stream can be ended at an event: nothing of an incomplete one has been written.
    [[nodiscard]] bool may_end_here();
    /// Passes on what was looked at, but for the last `withheld` bytes of it, which end an event or begin one: `cut` then
    /// puts the trouble's own event there. Not if a part of these has been written already.
    core::Task<void> end_before(std::uint64_t withheld);
    /// Ends the reply unfinished because of the trouble.
    core::Task<core::Result<void>> cut();
    core::Failure upstream_failure(const boost::system::error_code& code) const;
    [[nodiscard]] openai::StreamScanner* stream() noexcept
    {
        return std::get_if<openai::StreamScanner>(&scan_);
    }
    [[nodiscard]] openai::ReplyScanner* json() noexcept
    {
        return std::get_if<openai::ReplyScanner>(&scan_);
    }
    /// Records what the reply cost before its last piece is written; a failure is trouble.
    core::Task<void> settle();
    void note_usage();
    void note(const openai::Usage& usage, const std::string& model, const std::string& reason);

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
    std::variant<std::monostate, openai::StreamScanner, openai::ReplyScanner> scan_;
    std::unique_ptr<openai::IdScanner> ids_;  // while it may find more
    std::optional<openai::Inflater> inflater_;
    std::vector<std::string_view> runs_;    // body bytes as they came
    std::vector<std::string_view> relay_;   // what of them is passed on
    std::vector<std::string_view> pieces_;  // that with head and framing
    std::size_t pending_ = 0;               // body bytes among `pieces_`
    std::optional<core::Failure> trouble_;  // why the relay cannot go on
    std::array<char, 24> line_{};           // the chunk's size line
    std::optional<policy::ReplyVerdict> refusal_;
    core::SteadyTime hold_until_{};  // set when the first wait for a whole block begins
    End end_ = End::complete;
    bool returned_ = false;       // the connection, to its pool
    bool holding_ = false;        // the head, until the first block is complete
    bool ends_at_event_ = false;  // what was written, so that an event of ours may follow
    bool sse_ = false;
    bool chunked_out_ = false;
    bool head_sent_ = false;
    bool settled_ = false;
    bool scanned_held_ = false;
};

[[nodiscard]] std::size_t total_size(const std::vector<std::string_view>& runs) noexcept;

}  // namespace llmproxy::pipeline
