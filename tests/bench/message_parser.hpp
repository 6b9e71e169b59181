#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::bench {

/// Reads HTTP/1.1 messages of a well-behaved sender: Content-Length, chunked, or until the end of
/// the connection (responses only). Not a gate: it accepts more than a server may.
class MessageParser {
public:
    enum class Kind : std::uint8_t { request, response };

    explicit MessageParser(Kind kind) : kind_(kind) {}

    /// Takes bytes up to the end of the current message and appends its body to `body()`.
    /// Returns how many were taken, or nothing if they are not HTTP.
    [[nodiscard]] std::optional<std::size_t> feed(std::string_view data);

    /// The peer closed. True if that completes the message (a body delimited by the close).
    [[nodiscard]] bool finish_at_close() noexcept;

    [[nodiscard]] bool is_complete() const noexcept { return state_ == State::complete; }
    [[nodiscard]] bool has_started() const noexcept { return started_; }
    [[nodiscard]] bool has_head() const noexcept { return state_ != State::head; }
    /// Whether the sender will keep the connection after this message.
    [[nodiscard]] bool keeps_alive() const noexcept { return keep_alive_; }
    /// Status of a response; 0 until the head is there.
    [[nodiscard]] int status() const noexcept { return status_; }
    /// Start line and fields, with the final empty line.
    [[nodiscard]] std::string_view head() const noexcept { return head_; }
    /// Decoded body bytes; the caller may consume and clear them at any time.
    [[nodiscard]] std::string& body() noexcept { return body_; }
    /// Value of a field, looked up without regard to case.
    [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const noexcept;

    /// Makes it ready for the next message.
    void reset();

private:
    enum class State : std::uint8_t {
        head,
        sized,
        chunk_size,
        chunk_data,
        trailer,
        to_close,
        complete
    };

    std::optional<std::size_t> take_head(std::string_view data);
    bool interpret_head();
    std::optional<std::size_t> take_line(std::string_view data);
    bool interpret_line(std::string_view line);

    Kind kind_;
    State state_ = State::head;
    bool started_ = false;
    bool keep_alive_ = true;
    int status_ = 0;
    std::uint64_t left_ = 0;  // bytes of the body or of the chunk, its CRLF included
    std::string head_;
    std::string line_;
    std::string body_;
};

}  // namespace llmproxy::bench
