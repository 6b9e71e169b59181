#include "llmproxy/http/target.hpp"
#include "llmproxy/openai/route.hpp"

#include <cstdint>
#include <cstdlib>

/// An accepted path has no segment that another program could resolve.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto target = llmproxy::http::parse_origin_form(input);
    if (!target) {
        return 0;
    }
    const auto path = target->path;
    const auto npos = std::string_view::npos;
    if (path.empty() || path.front() != '/' || path.find("//") != npos ||
        path.find("/../") != npos || path.find("/./") != npos || path.ends_with("/..") ||
        path.ends_with("/.") || path.find('\\') != npos) {
        std::abort();
    }
    static_cast<void>(llmproxy::openai::route_of(path));
    return 0;
}
