#include "llmproxy/openai/errors.hpp"

#include "llmproxy/core/error_body.hpp"

namespace llmproxy::openai {

std::string stream_error_event(Route route, const core::Failure& failure,
                               std::uint64_t sequence_number)
{
    if (route != Route::responses) {
        return "data: " + core::error_body(failure) + "\n\n";
    }
    std::string out = "event: error\ndata: {";
    core::append_error_members(out, failure, "error");
    out += ",\"sequence_number\":" + std::to_string(sequence_number) + "}\n\n";
    return out;
}

}  // namespace llmproxy::openai
