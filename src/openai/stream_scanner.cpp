#include "llmproxy/openai/stream_scanner.hpp"

#include "json.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace llmproxy::openai {
namespace {

constexpr auto kNone = std::string_view::npos;

std::size_t find_byte(std::string_view text, char byte, std::size_t from) noexcept
{
    if (from >= text.size()) {
        return kNone;
    }
    const void* const found = std::memchr(text.data() + from, byte, text.size() - from);
    return found == nullptr
               ? kNone
               : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

/// Finds line ends in order; a piece without CR is searched for one only once.
class LineEnds {
public:
    explicit LineEnds(std::string_view text) noexcept : text_(text), cr_(find_byte(text, '\r', 0))
    {
    }

    std::size_t next(std::size_t from) noexcept
    {
        if (cr_ != kNone && cr_ < from) {
            cr_ = find_byte(text_, '\r', from);
        }
        return std::min(cr_, find_byte(text_.substr(0, std::min(cr_, text_.size())), '\n', from));
    }

private:
    std::string_view text_;
    std::size_t cr_;
};

/// The value of a field line `name: value`, without one leading space.
std::string_view value_of(std::string_view line, std::size_t name) noexcept
{
    line.remove_prefix(std::min(name + 1, line.size()));
    if (line.starts_with(' ')) {
        line.remove_prefix(1);
    }
    return line;
}

bool is_field(std::string_view line, std::string_view name) noexcept
{
    return line.starts_with(name) && (line.size() == name.size() || line[name.size()] == ':');
}

/// The event name and the data of a block; several data lines are joined in `joined`.
struct Fields {
    std::string_view event;
    std::string_view data;
};

Fields fields_of(std::string_view block, std::string& joined)
{
    constexpr std::string_view kData = "data";
    constexpr std::string_view kEvent = "event";
    Fields fields;
    int lines = 0;
    LineEnds ends(block);
    std::size_t at = 0;
    while (at < block.size()) {
        const auto end = std::min(ends.next(at), block.size());
        const auto line = block.substr(at, end - at);
        at = end + 1;
        if (is_field(line, kData)) {
            const auto value = value_of(line, kData.size());
            if (++lines == 1) {
                fields.data = value;
                continue;
            }
            if (lines == 2) {
                joined.assign(fields.data);
            }
            joined += '\n';
            joined += value;
        } else if (is_field(line, kEvent)) {
            fields.event = value_of(line, kEvent.size());
        }
    }
    if (lines > 1) {
        fields.data = joined;
    }
    return fields;
}

bool begins_value(std::string_view text, std::size_t at) noexcept
{
    return at != kNone && text[at] != 'n';  // anything but null
}

/// Whether some member `key` is an object or anything else that is not null.
bool has_value(std::string_view data, std::string_view key) noexcept
{
    auto at = json::find_member(data, key);
    while (at != kNone && !begins_value(data, at)) {
        at = json::find_member(data, key, at);
    }
    return at != kNone;
}

}  // namespace

void StreamScanner::feed(std::string_view piece, std::vector<std::string_view>& relay)
{
    given_.clear();
    if (piece.empty()) {
        return;
    }
    if (!hide_) {
        relay.push_back(piece);
    }
    std::size_t start = 0;  // of the current block's part in this piece
    std::size_t run = 0;    // of what is to be relayed and has not been
    std::size_t at = 0;
    if (std::exchange(after_cr_, false) && piece.front() == '\n') {
        at = 1;
        if (total_ == 0) {  // the rest of the last block's blank line
            start = 1;
            run = hid_last_ ? 1 : 0;
            boundary_ = given_out_ + start - run;
        }
    }
    LineEnds ends(piece);
    while (at < piece.size()) {
        const auto end = ends.next(at);
        if (end == kNone) {
            line_empty_ = false;
            break;
        }
        const bool blank = line_empty_ && end == at;
        line_empty_ = true;
        at = end + 1;
        if (piece[end] == '\r') {
            if (at == piece.size()) {
                after_cr_ = true;
            } else if (piece[at] == '\n') {
                ++at;
            }
        }
        if (!blank) {
            continue;
        }
        const bool held = hide_ && total_ > 0 && !released_;
        if (held) {
            given_ = block_;  // at most kMaxHeld bytes
        }
        const bool had_terminal = terminal_;
        hid_last_ = end_block(piece.substr(start, end + 1 - start));
        if (terminal_ && !had_terminal) {
            before_terminal_ = boundary_;
        }
        if (hide_ && !hid_last_ && held) {
            give(given_, relay);
        }
        if (hid_last_) {
            give(piece.substr(run, start - run), relay);
            run = at;
        }
        start = at;
        boundary_ = given_out_ + start - run;
    }
    const auto rest = piece.substr(start);
    if (!hide_) {
        given_out_ += piece.size();
        keep(rest);
        return;
    }
    if (total_ + rest.size() > kMaxHeld && !rest.empty()) {
        if (total_ > 0 && !released_) {
            given_ = block_;
            give(given_, relay);
        }
        released_ = true;
    }
    const auto until = released_ ? piece.size() : start;
    give(piece.substr(run, until - run), relay);
    keep(rest);
}

void StreamScanner::give(std::string_view part, std::vector<std::string_view>& relay)
{
    if (!part.empty()) {
        given_out_ += part.size();
        relay.push_back(part);
    }
}

void StreamScanner::finish(std::vector<std::string_view>& relay)
{
    given_.clear();
    if (total_ == 0 || block_.empty()) {
        return;
    }
    if (hide_ && !released_) {
        given_ = block_;
        give(given_, relay);
    }
    const bool had_terminal = terminal_;
    const bool whole_line = line_empty_;
    const auto incomplete = total_;
    hid_last_ = end_block({});
    total_ = incomplete;  // still no event boundary
    terminal_ = had_terminal || (terminal_ && whole_line);
    if (terminal_ && !had_terminal) {
        before_terminal_ = boundary_;
    }
}

/// Keeps a part of the incomplete block: all of it, or beginning and end once it is long.
void StreamScanner::keep(std::string_view part)
{
    total_ += part.size();
    if (total_ <= kMaxBlock) {
        block_.append(part);
        return;
    }
    if (head_.empty()) {
        head_.assign(block_, 0, kHead);
        head_.append(part.substr(0, kHead - head_.size()));
    }
    if (part.size() >= kTail) {
        block_.assign(part.substr(part.size() - kTail));
        return;
    }
    if (block_.size() + part.size() > kMaxBlock) {
        block_.erase(0, block_.size() - kTail);
    }
    block_.append(part);
}

/// The block is complete with this part of it. Tells whether it is to be hidden.
bool StreamScanner::end_block(std::string_view last_part)
{
    bool hidden = false;
    if (total_ == 0 && last_part.size() <= kMaxBlock) {
        hidden = last_part.size() > 2 && scan_block(last_part) && last_part.size() <= kMaxHeld;
    } else {
        keep(last_part);
        if (total_ <= kMaxBlock) {
            hidden = scan_block(block_) && total_ <= kMaxHeld;
        } else {
            const std::string_view kept = block_;
            scan_long_block(head_, kept.substr(kept.size() - std::min(kept.size(), kTail)));
        }
        if (block_.capacity() > kMaxHeld) {
            std::string().swap(block_);
        }
        block_.clear();
        std::string().swap(head_);
    }
    total_ = 0;
    released_ = false;
    first_ = false;
    ++blocks_;
    return hidden && hide_;
}

/// Tells whether the block is one that hiding is for.
bool StreamScanner::scan_block(std::string_view block)
{
    constexpr std::string_view kMark = "\xEF\xBB\xBF";
    if (first_ && block.starts_with(kMark)) {
        block.remove_prefix(kMark.size());
    }
    std::string joined;
    const auto fields = fields_of(block, joined);
    note_event(fields.event);
    return scan_data(fields.event, fields.data);
}

void StreamScanner::scan_long_block(std::string_view head, std::string_view tail)
{
    std::string joined;
    const auto fields = fields_of(head, joined);
    note_event(fields.event);
    if (fields.event.empty()) {
        note_type(fields.data);
    }
    if (model_.empty()) {
        model_ = json::string_member(fields.data, "\"model\"");
    }
    for (const int levels : {1, 2}) {
        const auto object = json::last_object(tail, "\"usage\"", levels);
        if (!object.empty()) {
            read_usage(object, usage_);
            return;
        }
    }
}

bool StreamScanner::scan_data(std::string_view event, std::string_view data)
{
    if (data.empty()) {
        return false;
    }
    if (data.front() != '{') {
        data = core::trim(data);
        if (data == "[DONE]") {
            terminal_ = true;
            return false;
        }
    }
    if (event.empty()) {
        note_type(data);
    }
    if (model_.empty()) {
        model_ = json::string_member(data, "\"model\"");
    }
    if (const auto reason = json::string_member(data, "\"finish_reason\""); !reason.empty()) {
        finish_reason_ = reason;
    }
    return (has_value(data, "\"usage\"") || (!error_ && has_value(data, "\"error\""))) &&
           read_json(data);
}

bool StreamScanner::read_json(std::string_view data)
{
    const auto facts = read_reply(data, usage_);
    error_ = error_ || facts.error;
    if (facts.usage.present) {
        usage_ = facts.usage;
    }
    if (!facts.finish_reason.empty()) {
        finish_reason_ = facts.finish_reason;
    }
    return facts.ok && facts.empty_choices && facts.top_usage;
}

void StreamScanner::note_event(std::string_view event) noexcept
{
    if (event.empty()) {
        return;
    }
    const bool failed = event == "response.failed";
    if (event == "response.completed" || event == "response.incomplete" ||
        event == "message_stop" || failed) {
        terminal_ = true;
    }
    error_ = error_ || failed || event == "error";
}

/// Events without a name tell it in their `type`.
void StreamScanner::note_type(std::string_view data) noexcept
{
    constexpr std::string_view kType = "\"type\"";
    if (route_ != Route::responses && route_ != Route::other) {
        return;
    }
    for (auto at = json::find_member(data, kType); at != kNone;
         at = json::find_member(data, kType, at)) {
        const auto value = data.substr(at);
        if (value.starts_with("\"response.failed\"")) {
            note_event("response.failed");
        } else if (value.starts_with("\"response.completed\"") ||
                   value.starts_with("\"response.incomplete\"") ||
                   value.starts_with("\"message_stop\"")) {
            terminal_ = true;
        } else if (value.starts_with("\"error\"")) {
            error_ = true;
        }
    }
}

}  // namespace llmproxy::openai
