#pragma once

#include "message_parser.hpp"
#include "socket.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::bench {

/// One connection of the load generator and the request under way on it.
struct Client {
    enum class Tunnel : std::uint8_t { none, asked, open, refused };

    /// Takes a part of the answer to CONNECT; bytes behind its head would be nobody's.
    void take_answer(std::string_view data)
    {
        answer.append(data);
        const auto end = answer.find("\r\n\r\n");
        if (end == std::string::npos) {
            return;
        }
        const bool agreed = answer.starts_with("HTTP/1.") && answer.substr(8, 5) == " 200 ";
        tunnel = agreed && end + 4 == answer.size() ? Tunnel::open : Tunnel::refused;
        answer.clear();
        written = 0;
    }

    Socket socket;
    MessageParser parser{MessageParser::Kind::response};
    std::string answer;
    Tunnel tunnel = Tunnel::none;
    std::size_t written = 0;  // of what is being sent: the CONNECT or the request
    std::int64_t started = 0;
    bool busy = false;
    bool reused = false;
    bool saw_event = false;
    bool saw_done = false;
};

}  // namespace llmproxy::bench
