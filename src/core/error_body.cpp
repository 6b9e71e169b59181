#include "llmproxy/core/error_body.hpp"

#include "llmproxy/core/text.hpp"

namespace llmproxy::core {

std::string error_body(const Failure& failure)
{
    std::string body = R"({"error":{)";
    append_error_members(body, failure, failure.info().type);
    body += "}}";
    return body;
}

void append_error_members(std::string& out, const Failure& failure, std::string_view type)
{
    out += R"("message":")";
    append_json_escaped(out, failure.message());
    out.append(R"(","type":")").append(type).append(R"(","param":)");
    if (failure.param().empty()) {
        out += "null";
    } else {
        out += '"';
        append_json_escaped(out, failure.param());
        out += '"';
    }
    out.append(R"(,"code":")").append(failure.info().code).append("\"");
}

}  // namespace llmproxy::core
