#include "llmproxy/openai/resource_ids.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

/// Replies and bodies that name resources: what is found does not depend on where the pieces are cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    namespace openai = llmproxy::openai;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    openai::IdScanner whole;
    whole.feed(input);
    const auto found = whole.take();
    openai::IdScanner pieces;
    std::vector<std::string> again;
    for (std::size_t at = 0; at < size; ++at) {
        pieces.feed(input.substr(at, 1));
        for (auto& id : pieces.take()) {
            again.push_back(std::move(id));
        }
    }
    if (found != again || found.size() > openai::IdScanner::kMaxIds) {
        std::abort();
    }
    for (const auto& id : found) {
        if (id.empty() || id.size() > openai::IdScanner::kLongestId) {
            std::abort();
        }
    }
    for (const auto route : {openai::Route::responses, openai::Route::chat_completions,
                             openai::Route::other, openai::Route::embeddings}) {
        for (const auto id : openai::ids_in_body(route, input)) {
            if (id.data() < input.data() || id.data() + id.size() > input.data() + size) {
                std::abort();
            }
        }
        static_cast<void>(openai::is_stored(route, input));
    }
    static_cast<void>(openai::ids_in_path(input));
    return 0;
}
