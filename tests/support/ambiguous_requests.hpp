#pragma once

#include "support/named_bytes.hpp"

#include <string>
#include <vector>

namespace llmproxy::test {

/// Requests that two parsers could read differently: heads that the gate refuses (RFC 9112, sections 2.2, 3.2, 5, 6, 11).
/// \param base  what stands before the path.
std::vector<NamedBytes> ambiguous_heads(const std::string& base);
/// Chunked bodies that the decoder refuses (RFC 9112, section 7.1).
std::vector<NamedBytes> ambiguous_bodies(const std::string& base);

}  // namespace llmproxy::test
