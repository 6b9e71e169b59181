#pragma once

#include "llmproxy/openai/route.hpp"
#include "llmproxy/openai/usage.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::openai {

/// Reads the server-sent events of a reply beside the relay: usage, model, terminal and error events.
///
/// A block is what ends with a blank line. Lines end in CRLF, LF or CR in any mix; pieces may be cut anywhere, and
/// neither what is found nor what is hidden depends on where. Bytes are never changed.
/// With `hide_usage` the blocks whose data has `choices: []` and a `usage` object are left out; for that an
/// incomplete block of at most kMaxHeld bytes is held back. Longer blocks are never hidden.
/// Memory: nothing between blocks; at most kMaxBlock bytes and a little of an incomplete block. Of a block longer than that
/// only its beginning and end are looked at.
/// Thread safety: none.
class StreamScanner {
public:
    static constexpr std::size_t kMaxHeld = std::size_t{4} * 1024;
    static constexpr std::size_t kMaxBlock = std::size_t{64} * 1024;

    StreamScanner(Route route, bool hide_usage) noexcept : route_(route), hide_(hide_usage) {}

    /// Looks at the next piece and appends what may be relayed now, in order. Without hiding that is the
    /// piece itself. The views are into `piece` or into the scanner, which must stay as it is until the
    /// next call of `feed` or `finish`, before which they must have been used.
    void feed(std::string_view piece, std::vector<std::string_view>& relay);

    /// The upstream has ended: gives out what was held back, and reads a last block that has no blank line.
    void finish(std::vector<std::string_view>& relay);

    /// Every byte so far belongs to a complete block: an event put here is not mixed with another.
    [[nodiscard]] bool at_event_boundary() const noexcept { return total_ == 0; }
    /// The incomplete block is held back: what was given out ends with a complete one.
    [[nodiscard]] bool holds_back() const noexcept { return total_ != 0 && hide_ && !released_; }
    /// \name Where a cut of ours may fall
    ///
    /// Counted back from the end of all that was given out.
    /// @{
    /// Bytes of the incomplete block: without these, what was given out ends with a complete one.
    [[nodiscard]] std::uint64_t given_past_boundary() const noexcept
    {
        return given_out_ - boundary_;
    }
    /// Bytes from the beginning of the terminal event on; 0 if none was seen.
    [[nodiscard]] std::uint64_t given_past_terminal() const noexcept
    {
        return terminal_ ? given_out_ - before_terminal_ : 0;
    }
    /// @}
    /// `[DONE]`, `message_stop`, or one of response.completed, response.failed, response.incomplete was seen.
    [[nodiscard]] bool terminal_seen() const noexcept { return terminal_; }
    /// An `error` event, an event with an `error` object, or response.failed was seen.
    [[nodiscard]] bool error_seen() const noexcept { return error_; }
    /// At least one block is complete; comments count.
    [[nodiscard]] bool block_seen() const noexcept { return blocks_ != 0; }
    /// How many are.
    [[nodiscard]] std::uint64_t blocks() const noexcept { return blocks_; }
    [[nodiscard]] const Usage& usage() const noexcept { return usage_; }
    [[nodiscard]] const std::string& model() const noexcept { return model_; }
    /// Why the first choice ended, as ReplyFacts::finish_reason.
    [[nodiscard]] const std::string& finish_reason() const noexcept { return finish_reason_; }

private:
    static constexpr std::size_t kHead = 1024;
    static constexpr std::size_t kTail = std::size_t{16} * 1024;

    bool end_block(std::string_view last_part);
    void give(std::string_view part, std::vector<std::string_view>& relay);
    void keep(std::string_view part);
    bool scan_block(std::string_view block);
    void scan_long_block(std::string_view head, std::string_view tail);
    bool scan_data(std::string_view event, std::string_view data);
    bool read_json(std::string_view data);
    void note_event(std::string_view event) noexcept;
    void note_type(std::string_view data) noexcept;

    Route route_;
    bool hide_;
    bool line_empty_ = true;  // nothing in the current line yet
    bool after_cr_ = false;   // the last byte was CR: an LF would belong to it
    bool hid_last_ = false;   // the last complete block was hidden
    bool released_ = false;   // the incomplete block has been given out
    bool first_ = true;       // no block is complete: a byte order mark may lead
    bool terminal_ = false;
    bool error_ = false;
    std::uint64_t blocks_ = 0;           // complete
    std::uint64_t given_out_ = 0;        // bytes, in all
    std::uint64_t boundary_ = 0;         // of these, at the end of the last complete block
    std::uint64_t before_terminal_ = 0;  // of these, before the terminal event
    std::size_t total_ = 0;              // bytes of the incomplete block
    std::string block_;                  // the incomplete block, or the end of it when it is long
    std::string head_;                   // the beginning of a long block
    std::string given_;                  // what was held and is being relayed
    Usage usage_;
    std::string model_;
    std::string finish_reason_;
};

}  // namespace llmproxy::openai
