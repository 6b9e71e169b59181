#include "llmproxy/openai/request_facts.hpp"

#include <cstdint>
#include <cstdlib>
#include <simdjson.h>
#include <string>

/// What is accepted is JSON by the full parser's judgement, and stays so after the splice.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    namespace openai = llmproxy::openai;
    std::string body(reinterpret_cast<const char*>(data), size);
    const auto before = body;
    const auto facts = openai::read_facts(body);
    if (body != before) {
        std::abort();
    }
    if (!facts) {
        return 0;
    }
    simdjson::dom::parser parser;
    const auto error = parser.parse(body).error();
    // The full parser also refuses lone surrogates and numbers out of range, which RFC 8259 allows.
    if (error != simdjson::SUCCESS && error != simdjson::STRING_ERROR &&
        error != simdjson::NUMBER_ERROR) {
        std::abort();
    }
    if (const auto splice = openai::usage_splice(*facts)) {
        auto changed = openai::spliced(body, *splice);
        const auto again = openai::read_facts(changed);
        if (!again || !again->wants_usage() || again->model != facts->model) {
            std::abort();
        }
    }
    return 0;
}
