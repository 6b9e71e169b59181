#include "llmproxy/openai/reply_scanner.hpp"

#include "json.hpp"

#include <algorithm>

namespace llmproxy::openai {
namespace {

constexpr std::size_t kHead = 2048;
constexpr std::size_t kSmall = std::size_t{4} * 1024;
constexpr std::size_t kShortTail = 2048;

std::string_view end_of(std::string_view text, std::size_t size) noexcept
{
    return text.substr(text.size() - std::min(text.size(), size));
}

/// What beginning and end of a long reply tell.
ReplyFacts scan_ends(std::string_view head, std::string_view tail)
{
    ReplyFacts facts;
    const auto object = json::last_object(tail, "\"usage\"", 1);
    if (!object.empty()) {
        read_usage(object, facts.usage);
        facts.ok = true;
        facts.top_usage = true;
    }
    auto model = json::string_member(head, "\"model\"");
    if (model.empty()) {
        model = json::string_member(tail, "\"model\"");
    }
    facts.model = model;
    facts.finish_reason = json::string_member(tail, "\"finish_reason\"");
    return facts;
}

}  // namespace

ReplyFacts scan_reply(std::string_view whole)
{
    if (whole.size() > kSmall) {
        auto facts = scan_ends(whole.substr(0, kHead), end_of(whole, kShortTail));
        if (facts.usage.present && !facts.model.empty()) {
            return facts;
        }
    }
    if (whole.size() <= ReplyScanner::kMaxKept) {
        return read_reply(whole);
    }
    return scan_ends(whole.substr(0, kHead), end_of(whole, ReplyScanner::kTail));
}

void ReplyScanner::feed(std::string_view piece)
{
    total_ += piece.size();
    if (total_ <= kMaxKept) {
        kept_.append(piece);
        return;
    }
    if (head_.empty()) {
        head_.assign(kept_, 0, kHead);
        head_.append(piece.substr(0, kHead - head_.size()));
        std::string short_end(end_of(kept_, kTail));
        kept_.swap(short_end);
    }
    if (piece.size() >= kTail) {
        kept_.assign(end_of(piece, kTail));
        return;
    }
    if (kept_.size() + piece.size() > 4 * kTail) {
        kept_.erase(0, kept_.size() - kTail);
    }
    kept_.append(piece);
}

void ReplyScanner::read_whole(std::string_view reply)
{
    facts_ = scan_reply(reply);
    read_ = true;
}

void ReplyScanner::finish()
{
    if (read_) {
        return;
    }
    if (total_ <= kMaxKept) {
        facts_ = scan_reply(kept_);
    } else {
        facts_ = scan_ends(head_, end_of(kept_, kTail));
    }
    std::string().swap(kept_);
    std::string().swap(head_);
    total_ = 0;
}

}  // namespace llmproxy::openai
