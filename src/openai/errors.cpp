#include "llmproxy/openai/errors.hpp"

#include "llmproxy/core/text.hpp"

#include <string_view>

namespace llmproxy::openai {
namespace {

void append_member(std::string& out, std::string_view key, std::string_view value)
{
    out += '"';
    out += key;
    out += "\":\"";
    core::append_json_escaped(out, value);
    out += '"';
}

void append_param(std::string& out, const core::Failure& failure)
{
    if (failure.param().empty()) {
        out += "\"param\":null";
    } else {
        append_member(out, "param", failure.param());
    }
}

}  // namespace

std::string error_body(const core::Failure& failure)
{
    std::string out = "{\"error\":{";
    append_member(out, "message", failure.message());
    out += ',';
    append_member(out, "type", failure.info().type);
    out += ',';
    append_param(out, failure);
    out += ',';
    append_member(out, "code", failure.info().code);
    out += "}}";
    return out;
}

std::string stream_error_event(Route route, const core::Failure& failure,
                               std::uint64_t sequence_number)
{
    if (route != Route::responses) {
        return "data: " + error_body(failure) + "\n\n";
    }
    std::string out = "event: error\ndata: {\"type\":\"error\",";
    append_member(out, "code", failure.info().code);
    out += ',';
    append_member(out, "message", failure.message());
    out += ',';
    append_param(out, failure);
    out += ",\"sequence_number\":" + std::to_string(sequence_number) + "}\n\n";
    return out;
}

}  // namespace llmproxy::openai
