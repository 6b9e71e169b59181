#pragma once

#include "llmproxy/core/failure.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmproxy::http {

/// Takes the chunked transfer coding (RFC 9112, section 7.1) off a body, strictly and without copying.
///
/// Input may be split anywhere; state is kept per byte. Line ends are CRLF and nothing else: a bare CR or LF in
/// the framing is an error, also inside a quoted extension value. Trailer fields are checked and dropped.
/// Thread safety: none. Never allocates but for the text of a failure.
class ChunkDecoder {
public:
    /// What to do with chunk extensions: refuse them (requests) or step over them (responses).
    enum class Extensions : std::uint8_t { refuse, skip };

    /// Extension and trailer bytes of one body, all together.
    static constexpr std::size_t kMaxOverhead = std::size_t{16} * 1024;

    /// What one call took from its input.
    struct Step {
        std::size_t consumed = 0;  ///< bytes of the input that are done with, `data` included
        std::string_view data;     ///< a run of body bytes, a view into the input; may be empty
    };

    explicit ChunkDecoder(Extensions extensions) noexcept : extensions_(extensions) {}

    /// Consumes framing up to and including the next run of body bytes, or all of the input.
    /// After `done` it consumes nothing: what is left belongs to the next message.
    /// Fails with Errc::bad_request, once and for all; callers reading a response map it to theirs.
    core::Result<Step> next(std::string_view input);

    /// The last chunk, the trailers and the final CRLF were seen.
    [[nodiscard]] bool done() const noexcept { return state_ == State::done; }
    /// Body bytes given out so far.
    [[nodiscard]] std::uint64_t body_bytes() const noexcept { return body_bytes_; }

private:
    enum class State : std::uint8_t {
        size_first,
        size,
        padding,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer_first,
        trailer_name,
        trailer_value,
        trailer_lf,
        final_lf,
        done,
        failed
    };

    const char* advance(unsigned char byte) noexcept;
    const char* end_of_size(unsigned char byte) noexcept;

    Extensions extensions_;
    State state_ = State::size_first;
    std::uint8_t digits_ = 0;
    std::uint64_t left_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::size_t overhead_ = 0;
};

}  // namespace llmproxy::http
