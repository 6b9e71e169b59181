#include "message_parser.hpp"

#include <algorithm>
#include <charconv>
#include <strings.h>

namespace llmproxy::bench {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";

bool same_name(std::string_view left, std::string_view right) noexcept
{
    return left.size() == right.size() &&
           ::strncasecmp(left.data(), right.data(), left.size()) == 0;
}

std::optional<std::uint64_t> parse_number(std::string_view text, int base) noexcept
{
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end == text.data()) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

std::optional<std::size_t> MessageParser::feed(std::string_view data)
{
    std::size_t taken = 0;
    while (taken < data.size() && state_ != State::complete) {
        started_ = true;
        const std::string_view rest = data.substr(taken);
        std::optional<std::size_t> step;
        switch (state_) {
        case State::head: step = take_head(rest); break;
        case State::chunk_size:
        case State::trailer: step = take_line(rest); break;
        case State::to_close:
            body_.append(rest);
            step = rest.size();
            break;
        case State::sized:
        case State::chunk_data: {
            const std::size_t part = std::min<std::uint64_t>(left_, rest.size());
            // The CRLF behind a chunk's data counts in left_ but is not body.
            const std::uint64_t ending = state_ == State::chunk_data ? 2 : 0;
            const std::uint64_t data_left = left_ > ending ? left_ - ending : 0;
            body_.append(rest.substr(0, std::min<std::uint64_t>(part, data_left)));
            left_ -= part;
            if (left_ == 0) {
                state_ = state_ == State::sized ? State::complete : State::chunk_size;
            }
            step = part;
            break;
        }
        case State::complete: break;
        }
        if (!step) {
            return std::nullopt;
        }
        taken += *step;
    }
    return taken;
}

bool MessageParser::finish_at_close() noexcept
{
    if (state_ == State::to_close) {
        state_ = State::complete;
        return true;
    }
    return false;
}

std::optional<std::string_view> MessageParser::field(std::string_view name) const noexcept
{
    std::string_view rest = head_;
    while (!rest.empty()) {
        const std::size_t end = rest.find("\r\n");
        const std::string_view line = rest.substr(0, end);
        const std::size_t colon = line.find(':');
        if (colon != std::string_view::npos && same_name(line.substr(0, colon), name)) {
            std::string_view value = line.substr(colon + 1);
            while (!value.empty() && value.front() == ' ') {
                value.remove_prefix(1);
            }
            return value;
        }
        if (end == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(end + 2);
    }
    return std::nullopt;
}

void MessageParser::reset()
{
    state_ = State::head;
    started_ = false;
    keep_alive_ = true;
    status_ = 0;
    left_ = 0;
    head_.clear();
    line_.clear();
    body_.clear();
}

std::optional<std::size_t> MessageParser::take_head(std::string_view data)
{
    const std::size_t before = head_.size();
    const std::size_t look_from = before < kHeadEnd.size() ? 0 : before - (kHeadEnd.size() - 1);
    head_.append(data);
    const std::size_t end = head_.find(kHeadEnd, look_from);
    if (end == std::string::npos) {
        return data.size();
    }
    head_.resize(end + kHeadEnd.size());
    const std::size_t taken = head_.size() - before;
    if (!interpret_head()) {
        return std::nullopt;
    }
    return taken;
}

bool MessageParser::interpret_head()
{
    if (kind_ == Kind::response) {
        const std::string_view line(head_);
        const auto status = line.starts_with("HTTP/1.") && line.size() > 12
                                ? parse_number(line.substr(9, 3), 10)
                                : std::nullopt;
        if (!status) {
            return false;
        }
        status_ = static_cast<int>(*status);
        if (status_ >= 100 && status_ < 200) {
            reset();  // an interim response; the real one follows
            started_ = true;
            return true;
        }
    }
    const auto connection = field("connection");
    keep_alive_ = !(connection && same_name(*connection, "close"));
    if (const auto coding = field("transfer-encoding"); coding && same_name(*coding, "chunked")) {
        state_ = State::chunk_size;
        return true;
    }
    if (const auto length = field("content-length")) {
        const auto size = parse_number(*length, 10);
        if (!size) {
            return false;
        }
        left_ = *size;
        state_ = left_ == 0 ? State::complete : State::sized;
        return true;
    }
    const bool no_body = kind_ == Kind::request || status_ == 204 || status_ == 304;
    state_ = no_body ? State::complete : State::to_close;
    return true;
}

std::optional<std::size_t> MessageParser::take_line(std::string_view data)
{
    const std::size_t end = data.find('\n');
    if (end == std::string_view::npos) {
        line_.append(data);
        return data.size();
    }
    line_.append(data.substr(0, end));
    if (!line_.empty() && line_.back() == '\r') {
        line_.pop_back();
    }
    const bool good = interpret_line(line_);
    line_.clear();
    return good ? std::optional<std::size_t>(end + 1) : std::nullopt;
}

bool MessageParser::interpret_line(std::string_view line)
{
    if (state_ == State::trailer) {
        if (line.empty()) {
            state_ = State::complete;
        }
        return true;
    }
    const auto size = parse_number(line, 16);
    if (!size) {
        return false;
    }
    left_ = *size + 2;
    state_ = *size == 0 ? State::trailer : State::chunk_data;
    return true;
}

}  // namespace llmproxy::bench
