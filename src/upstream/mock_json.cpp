#include "mock_json.hpp"

namespace llmproxy::upstream::mock {
namespace {

struct ErrorWords {
    std::string_view type;
    const char* code;  // null: no code
};

ErrorWords words_of(unsigned status)
{
    switch (status) {
    case 401: return {"invalid_request_error", "invalid_api_key"};
    case 402: return {"insufficient_quota", "insufficient_quota"};
    case 403: return {"permission_error", "permission_denied"};
    case 404: return {"invalid_request_error", "model_not_found"};
    case 408: return {"timeout_error", "request_timeout"};
    case 429: return {"rate_limit_error", "rate_limit_exceeded"};
    case 503:
    case 529: return {"overloaded_error", "overloaded"};
    default:
        return status >= 500 ? ErrorWords{"server_error", nullptr}
                             : ErrorWords{"invalid_request_error", nullptr};
    }
}

}  // namespace

const Json& member(const Json& object, const char* name)
{
    static const Json none;
    if (!object.is_object()) {
        return none;
    }
    const auto found = object.find(name);
    return found == object.end() ? none : *found;
}

std::string_view text_of(const Json& value)
{
    const auto* text = value.get_ptr<const std::string*>();
    return text == nullptr ? std::string_view() : std::string_view(*text);
}

bool is_true(const Json& value)
{
    return value.is_boolean() && value.get<bool>();
}

std::string dump(const OrderedJson& value)
{
    return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

OrderedJson error_object(unsigned status, std::string_view message, std::string_view param)
{
    const auto words = words_of(status);
    OrderedJson error;
    error["message"] = message;
    error["type"] = words.type;
    error["param"] = nullptr;
    if (!param.empty()) {
        error["param"] = param;
    }
    error["code"] = nullptr;
    if (words.code != nullptr) {
        error["code"] = words.code;
    }
    return error;
}

}  // namespace llmproxy::upstream::mock
