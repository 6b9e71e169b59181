#pragma once

#include "support/proxy_under_test.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace llmproxy::test {

/// What many requests came to.
struct CrowdResult {
    std::map<int, std::size_t> by_status;  ///< whole answers
    std::map<std::string, std::size_t> by_backend;
    std::size_t cut = 0;   ///< answers that began and did not end
    std::size_t none = 0;  ///< not even a head

    [[nodiscard]] std::size_t good() const;
    /// Whole answers other than 200, and none at all.
    [[nodiscard]] std::size_t failed() const;
    void add(const Response& reply);
    void add(const CrowdResult& other);
};

/// Sends at most `each` requests from each of `threads` keep-alive connections, one after another on each.
/// \param go_on  called on the connection's thread after each answer, if given; false ends that connection's requests.
CrowdResult ask_in_turn(const ProxyUnderTest& proxy, std::size_t threads, std::size_t each,
                        const std::function<bool(const Response&)>& go_on = {});

/// Sends a request on each of `count` connections, calls `meanwhile`, then reads the answers.
std::vector<Response> ask_at_once(const ProxyUnderTest& proxy, std::size_t count,
                                  const std::function<void()>& meanwhile = {},
                                  const std::string& request = chat());

[[nodiscard]] CrowdResult summed(const std::vector<Response>& replies);

/// By how much the environment variable LLMPROXY_TEST_SCALE makes a test larger; 1 without it.
[[nodiscard]] std::size_t test_scale();

}  // namespace llmproxy::test
