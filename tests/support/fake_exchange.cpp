#include "support/fake_backend.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <poll.h>
#include <sys/socket.h>

namespace llmproxy::test {

namespace {

/// The other side's FIN or RST, as `poll` tells it without reading.
bool other_side_left(const pollfd& item)
{
    return (item.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

bool Exchange::raw(std::string_view bytes)
{
    if (!over_ && !wire_.send(bytes)) {
        owner_.note_closed(seen_.connection);
        over_ = true;
    }
    return !over_;
}

bool Exchange::reply(int status, std::string_view body, std::string_view more_fields)
{
    std::string text = "HTTP/1.1 " + std::to_string(status) + " Scripted\r\n";
    text.append(more_fields);
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    if (!seen_.head.start_line.starts_with("HEAD ")) {
        text.append(body);
    }
    return raw(text);
}

bool Exchange::json(std::string_view body, int status)
{
    return reply(status, body, "Content-Type: application/json\r\n");
}

bool Exchange::begin_chunked(int status, std::string_view more_fields)
{
    return raw("HTTP/1.1 " + std::to_string(status) + " Scripted\r\n" + std::string(more_fields) +
               "Transfer-Encoding: chunked\r\n\r\n");
}

bool Exchange::wait(Gate& gate)
{
    const auto until = std::chrono::steady_clock::now() + kGuard;
    while (!over_ && std::chrono::steady_clock::now() < until) {
        std::array<pollfd, 3> items{pollfd{gate.fd(), POLLIN, 0},
                                    pollfd{owner_.stop_.fd(), POLLIN, 0},
                                    pollfd{wire_.fd(), POLLRDHUP, 0}};
        if (::poll(items.data(), items.size(), 1000) <= 0) {
            continue;
        }
        if (items[0].revents != 0 && gate.take()) {
            return true;
        }
        if (items[1].revents != 0) {
            over_ = true;
        }
        if (other_side_left(items[2])) {
            owner_.note_closed(seen_.connection);
            over_ = true;
        }
    }
    return false;
}

bool Exchange::stall()
{
    Gate never;
    wait(never);
    return over_ && !owner_.stopping_;
}

void Exchange::close()
{
    wire_.close();
    over_ = true;
}

void Exchange::close_abruptly()
{
    wire_.half_close(true);
    wire_.close();
    over_ = true;
}

void Exchange::reset()
{
    wire_.reset();
    over_ = true;
}

bool Exchange::fill()
{
    const auto before = buffer_.size();
    std::string got;
    // Pooled connections idle for as long as the test wants; the destructor wakes this read.
    const auto end = wire_.read(got, std::chrono::hours(1));
    buffer_ += got;
    owner_.bytes_seen_ += buffer_.size() - before;
    if (end != ReadEnd::data) {
        owner_.note_closed(seen_.connection);
        over_ = true;
    }
    return end == ReadEnd::data;
}

bool Exchange::read_raw(std::string& into)
{
    if (buffer_.empty() && !fill()) {
        return false;
    }
    into += buffer_;
    buffer_.clear();
    return true;
}

bool Exchange::take(std::size_t count, std::string& into)
{
    while (buffer_.size() < count) {
        if (!fill()) {
            into += buffer_;
            return false;
        }
    }
    into.append(buffer_, 0, count);
    buffer_.erase(0, count);
    return true;
}

bool Exchange::take_line(std::string& into)
{
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n")) == std::string::npos) {
        if (!fill()) {
            return false;
        }
    }
    into = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    return true;
}

bool Exchange::read_body()
{
    if (body_read_) {
        return seen_.whole;
    }
    body_read_ = true;
    if (same_text(seen_.head["expect"], "100-continue")) {
        raw("HTTP/1.1 100 Continue\r\n\r\n");
    }
    seen_.chunked = same_text(seen_.head["transfer-encoding"], "chunked");
    if (!seen_.chunked) {
        const auto length = std::strtoull(seen_.head["content-length"].c_str(), nullptr, 10);
        seen_.whole = take(length, seen_.body);
        return seen_.whole;
    }
    for (;;) {
        std::string size_line;
        if (!take_line(size_line)) {
            return false;
        }
        const auto size = std::strtoull(size_line.c_str(), nullptr, 16);
        std::string bytes;
        if (size == 0) {
            do {
                if (!take_line(size_line)) {
                    return false;
                }
            } while (!size_line.empty());
            seen_.whole = true;
            return true;
        }
        const bool came = take(size, bytes) && take_line(size_line);
        seen_.body += bytes;
        seen_.chunks.push_back(std::move(bytes));
        if (!came) {
            return false;
        }
    }
}

}  // namespace llmproxy::test
