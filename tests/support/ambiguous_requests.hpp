#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace llmproxy::test {

/// A request that two parsers could read differently.
struct AmbiguousRequest {
    std::string name;
    std::string bytes;
};

inline std::ostream& operator<<(std::ostream& out, const AmbiguousRequest& item)
{
    return out << item.name;
}

/// Heads that the gate refuses (RFC 9112, sections 2.2, 3.2, 5, 6, 11). \param base  what stands before the path.
std::vector<AmbiguousRequest> ambiguous_heads(const std::string& base);
/// Chunked bodies that the decoder refuses (RFC 9112, section 7.1).
std::vector<AmbiguousRequest> ambiguous_bodies(const std::string& base);

}  // namespace llmproxy::test
