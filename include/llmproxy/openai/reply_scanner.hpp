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
/// A reply known to be one piece goes to `scan_reply` instead, which keeps nothing. Thread safety: none.
class ReplyScanner {
public:
    static constexpr std::size_t kMaxKept = std::size_t{1} << 20;
    static constexpr std::size_t kTail = std::size_t{16} * 1024;

    void feed(std::string_view piece);
    /// The reply is complete. Frees what was kept.
    void finish();

    /// Set after `finish`.
    [[nodiscard]] const Usage& usage() const noexcept { return facts_.usage; }
    [[nodiscard]] const std::string& model() const noexcept { return facts_.model; }

private:
    std::string kept_;
    std::string head_;
    std::size_t total_ = 0;
    ReplyFacts facts_;
};

}  // namespace llmproxy::openai
