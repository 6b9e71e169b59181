#pragma once

#include "llmproxy/openai/usage.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy::openai {

/// Usage and model of a whole JSON reply that is one piece. Of more than 4 KiB only the beginning and the end are
/// looked at first, and the whole only if no usage was found there.
[[nodiscard]] ReplyFacts scan_reply(std::string_view whole);

/// Gathers a JSON reply beside its relay and reads usage and model when it has ended.
///
/// Keeps at most kMaxKept bytes; of a longer reply only the beginning and the last kTail bytes are read.
/// Thread safety: none.
class ReplyScanner {
public:
    static constexpr std::size_t kMaxKept = std::size_t{1} << 20;
    static constexpr std::size_t kTail = std::size_t{16} * 1024;

    void feed(std::string_view piece);
    /// The reply is this one piece, of which nothing is kept: in place of `feed` and `finish`.
    void read_whole(std::string_view reply);
    /// The reply is complete. Frees what was kept. Does nothing after `read_whole`.
    void finish();

    /// Set after `finish` or `read_whole`.
    [[nodiscard]] const Usage& usage() const noexcept { return facts_.usage; }
    [[nodiscard]] const ReplyFacts& facts() const noexcept { return facts_; }

private:
    std::string kept_;
    std::string head_;
    std::size_t total_ = 0;
    bool read_ = false;
    ReplyFacts facts_;
};

}  // namespace llmproxy::openai
