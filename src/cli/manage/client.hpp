#pragma once

#include "../url.hpp"

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/secret.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace llmproxy::cli::manage {

using Json = nlohmann::ordered_json;

/// Where the management API is, and how to get in.
struct Access {
    Url url;
    core::Secret token;
    std::string ca;  ///< PEM file; empty: the system's CAs
};

struct Question {
    std::string method = "GET";
    std::string target;  ///< behind the URL's path: `/manage/...`
    std::string body;    ///< JSON; empty: none
    std::string if_match;
};

struct Answer {
    unsigned status = 0;
    std::string etag;
    std::string body;
};

/// Gets the body of a success as it comes.
using Sink = std::function<void(std::string_view piece)>;

/// Asks the management API, one connection for each question. Blocks; gives up after 30 s without
/// progress. Fails with what `net::connect` says, or Errc::upstream_reset, upstream_timeout,
/// upstream_bad_response. An error status is no failure.
/// \param sink  if given, a success's body goes there and not into the answer.
[[nodiscard]] core::Result<Answer> ask(const Access& access, const Question& question,
                                       const Sink& sink = {});

/// Percent-encodes a value for a query or a path segment (RFC 3986, section 2.1).
[[nodiscard]] std::string percent_encoded(std::string_view text);

}  // namespace llmproxy::cli::manage
