#pragma once

#include "options.hpp"
#include "socket.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace llmproxy::bench {

/// What the load generator is to do.
struct Plan {
    std::uint16_t port = 0;
    std::optional<TlsContext> tls;
    std::string name;     // verified in the certificate
    std::string connect;  // head of the CONNECT on each new connection; empty: none
    std::string request;  // head and body, the same each time
    std::string warm_request;
    std::size_t connections = 1;
    std::uint64_t warm_up = 0;
    std::uint64_t requests = 1;
    std::int64_t seconds = 1;
    std::int64_t stagger_ns = 0;  // first requests spread over this time
    std::int64_t every_ns =
        0;  // between two requests, on whatever connection is free; 0: each follows a reply
    bool new_connection = false;
    bool stream = false;
    bool hold = false;
};

/// The plan of a command line; loads the CA file if there is one.
[[nodiscard]] Plan make_plan(const Options& options);

}  // namespace llmproxy::bench
