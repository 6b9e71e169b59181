#include "handlers/manage/route.hpp"

#include <cstdint>
#include <cstdlib>

/// What a body or query of the management API holds: a text that is read is read the same way once written, and no
/// shape of any route lets another type through than the one that it documents.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace llmproxy::handlers::manage;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto parsed = parse_json(input);
    if (parsed) {
        const auto again = parse_json(to_text(*parsed));
        if (!again || *again != *parsed) {
            std::abort();
        }
    }
    for (const auto& route : routes()) {
        if (parsed && route.request != nullptr && conform(*parsed, *route.request)) {
            for (const auto& property : route.request->properties) {
                if (property.required && !parsed->contains(property.name)) {
                    std::abort();
                }
            }
        }
        const auto query = parse_query(input, route.query);
        if (query && !query->is_object()) {
            std::abort();
        }
    }
    return 0;
}
