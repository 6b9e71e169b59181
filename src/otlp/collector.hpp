#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/otlp/settings.hpp"

#include <cstdint>
#include <memory>
#include <openssl/ssl.h>
#include <string>
#include <string_view>

namespace llmproxy::otlp {

/// What became of a post.
struct Posted {
    enum class End : std::uint8_t {
        taken,
        later,   ///< it may be taken if it is posted again
        refused  ///< it will not
    };
    End end = End::later;
    std::string detail;  ///< for the log
};

/// Where traces are posted to: a connection for each post, since there are few.
/// Thread safety: none. Lifetime: `resolver` outlives it.
class Collector {
public:
    /// Reads a certificate. Fails with Errc::internal, the detail names what.
    [[nodiscard]] static core::Result<Collector> make(const Settings& settings,
                                                      net::Resolver& resolver);

    /// Runs on a strand.
    core::Task<Posted> post(std::string body, core::Deadline deadline);

private:
    explicit Collector(net::Resolver& resolver) noexcept : resolver_(&resolver) {}

    net::Resolver* resolver_;
    std::shared_ptr<SSL_CTX> tls_;
    std::string host_;
    std::uint16_t port_ = 0;
    std::string head_;  // of each request, but for the length of its body
};

}  // namespace llmproxy::otlp
