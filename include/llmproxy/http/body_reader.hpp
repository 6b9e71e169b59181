#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/http/chunk_decoder.hpp"
#include "llmproxy/http/head.hpp"
#include "llmproxy/net/buffer.hpp"
#include "llmproxy/net/stream.hpp"

#include <string_view>
#include <vector>

namespace llmproxy::http {

/// Takes a message body out of a connection: watches where it ends, hands out the bytes as they came.
///
/// Use in a loop: `take`, use the runs, `drop`, and unless `done`, `fill`. Bytes past the end stay in the buffer.
/// Thread safety: none. Lifetime: `stream` and `buffer` outlive the reader; `buffer` starts right behind the head.
class BodyReader {
public:
    BodyReader(net::Stream& stream, net::Buffer& buffer, Framing framing,
               ChunkDecoder::Extensions extensions);

    /// Appends the body bytes now in the buffer, views that live until `drop`. Waits for nothing.
    /// Fails with what the decoder says of broken chunk framing.
    core::Result<void> take(std::vector<std::string_view>& runs);
    /// Gives the taken bytes' room back.
    void drop() noexcept;
    [[nodiscard]] bool done() const noexcept { return done_; }
    /// The body has ended and nothing came behind it: the connection is between two messages.
    [[nodiscard]] bool ended_cleanly() const noexcept
    {
        return done_ && kind_ != Framing::Kind::until_close && buffer_.size() == taken_;
    }

    /// Waits for bytes holding no buffer, then reads some. The error eof means that the body was cut;
    /// a body that ends with the connection is done instead.
    core::Task<net::IoResult<void>> fill();

private:
    net::Stream& stream_;
    net::Buffer& buffer_;
    Framing::Kind kind_;
    std::uint64_t remaining_;
    ChunkDecoder decoder_;
    std::size_t taken_ = 0;
    bool done_;
};

}  // namespace llmproxy::http
