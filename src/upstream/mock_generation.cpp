#include "mock_generation.hpp"

#include "mock_prompt.hpp"
#include "mock_text.hpp"

#include <memory>
#include <utility>

namespace llmproxy::upstream::mock {
namespace {

struct ToolCall {
    std::string id;
    std::string name;
};

/// What was generated, whole; streams take it in pieces.
struct Generation {
    std::string id;
    std::int64_t created = 0;
    std::string model;
    std::uint64_t input_tokens = 0;
    std::uint64_t output_tokens = 0;
    std::optional<ToolCall> tool;
    Pieces pieces;  // of the text, or of the tool's arguments
    bool usage = true;
    bool usage_event = false;  // chat and completions: the stream was asked to tell
};

using Shared = std::shared_ptr<const Generation>;

std::string event(const OrderedJson& value)
{
    return "data: " + dump(value) + "\n\n";
}

/// A value that fits a property's schema, as far as its type or first choice says.
OrderedJson sample_of(const Json& schema)
{
    const auto& choices = member(schema, "enum");
    if (choices.is_array() && !choices.empty() && choices.front().is_string()) {
        return text_of(choices.front());
    }
    const auto type = text_of(member(schema, "type"));
    if (type == "integer" || type == "number") {
        return 1;
    }
    if (type == "boolean") {
        return true;
    }
    if (type == "array") {
        return OrderedJson::array();
    }
    if (type == "object") {
        return OrderedJson::object();
    }
    return type == "null" ? OrderedJson() : OrderedJson("mock");
}

std::string arguments_for(const Json& parameters)
{
    auto arguments = OrderedJson::object();
    const auto& required = member(parameters, "required");
    if (required.is_array()) {
        for (const auto& entry : required) {
            const std::string name(text_of(entry));
            arguments[name] = sample_of(member(member(parameters, "properties"), name.c_str()));
        }
    }
    return dump(arguments);
}

/// The function to call, or null: the one that `tool_choice` names, else the first.
const Json* tool_to_call(const Json& request)
{
    const auto& tools = member(request, "tools");
    const auto& choice = member(request, "tool_choice");
    const auto& messages = member(request, "messages");
    if (!tools.is_array() || text_of(choice) == "none" ||
        text_of(member(messages.back(), "role")) == "tool") {
        return nullptr;
    }
    const auto wanted = text_of(member(member(choice, "function"), "name"));
    for (const auto& tool : tools) {
        const auto& function = member(tool, "function");
        const auto name = text_of(member(function, "name"));
        if (!name.empty() && (wanted.empty() || wanted == name)) {
            return &function;
        }
    }
    return nullptr;
}

OrderedJson usage_of(const Generation& made)
{
    OrderedJson usage;
    usage["prompt_tokens"] = made.input_tokens;
    usage["completion_tokens"] = made.output_tokens;
    usage["total_tokens"] = made.input_tokens + made.output_tokens;
    return usage;
}

OrderedJson envelope(const Generation& made, const char* object)
{
    OrderedJson out;
    out["id"] = made.id;
    out["object"] = object;
    out["created"] = made.created;
    out["model"] = made.model;
    return out;
}

/// An event with one choice, or with none: then it carries the usage.
std::string choice_event(const Generation& made, const char* object, OrderedJson choice)
{
    auto out = envelope(made, object);
    out["choices"] = OrderedJson::array();
    const bool last = choice.is_null();
    if (!last) {
        out["choices"].push_back(std::move(choice));
    }
    if (made.usage_event) {
        out["usage"] = last ? usage_of(made) : OrderedJson();
    }
    return event(out);
}

OrderedJson tool_json(const ToolCall& tool, std::string_view arguments)
{
    OrderedJson out;
    out["id"] = tool.id;
    out["type"] = "function";
    out["function"]["name"] = tool.name;
    out["function"]["arguments"] = arguments;
    return out;
}

OrderedJson delta_choice(OrderedJson delta, const char* finish)
{
    OrderedJson choice;
    choice["index"] = 0;
    choice["delta"] = std::move(delta);
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = nullptr;
    if (finish != nullptr) {
        choice["finish_reason"] = finish;
    }
    return choice;
}

OrderedJson first_delta(const Generation& made)
{
    OrderedJson delta;
    delta["role"] = "assistant";
    delta["content"] = "";
    if (made.tool) {
        delta["content"] = nullptr;
        auto call = tool_json(*made.tool, "");
        call["index"] = 0;
        delta["tool_calls"].push_back(std::move(call));
    }
    return delta;
}

OrderedJson content_delta(const Generation& made, std::uint64_t index)
{
    OrderedJson delta;
    if (made.tool) {
        OrderedJson call;
        call["index"] = 0;
        call["function"]["arguments"] = made.pieces.piece(index);
        delta["tool_calls"].push_back(std::move(call));
    } else {
        delta["content"] = made.pieces.piece(index);
    }
    return delta;
}

std::string chat_event(const Generation& made, std::uint64_t index)
{
    constexpr const char* kObject = "chat.completion.chunk";
    if (index == 0) {
        return choice_event(made, kObject, delta_choice(first_delta(made), nullptr));
    }
    const auto content = index - 1;
    if (content < made.pieces.size()) {
        return choice_event(made, kObject, delta_choice(content_delta(made, content), nullptr));
    }
    if (content == made.pieces.size()) {
        const auto* finish = made.tool ? "tool_calls" : "stop";
        return choice_event(made, kObject, delta_choice(OrderedJson::object(), finish));
    }
    const bool tells_usage = made.usage_event && content == made.pieces.size() + 1;
    return tells_usage ? choice_event(made, kObject, nullptr) : std::string("data: [DONE]\n\n");
}

OrderedJson text_choice(std::string_view text, const char* finish)
{
    OrderedJson choice;
    choice["text"] = text;
    choice["index"] = 0;
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = nullptr;
    if (finish != nullptr) {
        choice["finish_reason"] = finish;
    }
    return choice;
}

std::string completion_event(const Generation& made, std::uint64_t index)
{
    constexpr const char* kObject = "text_completion";
    if (index < made.pieces.size()) {
        return choice_event(made, kObject, text_choice(made.pieces.piece(index), nullptr));
    }
    if (index == made.pieces.size()) {
        return choice_event(made, kObject, text_choice("", "stop"));
    }
    const bool tells_usage = made.usage_event && index == made.pieces.size() + 1;
    return tells_usage ? choice_event(made, kObject, nullptr) : std::string("data: [DONE]\n\n");
}

Reply stream_of(Generation made, std::uint64_t events,
                std::string (*make)(const Generation&, std::uint64_t))
{
    Reply reply;
    reply.content_type = "text/event-stream; charset=utf-8";
    reply.fields = "Cache-Control: no-cache\r\n";
    reply.pieces = events;
    Shared shared = std::make_shared<const Generation>(std::move(made));
    reply.piece = [shared, make](std::uint64_t index) { return make(*shared, index); };
    return reply;
}

Generation begin(const Call& call, const Json& request, const Model& model, std::string_view prefix)
{
    Generation made;
    made.id = make_id(prefix, hash(call.body), call.sequence);
    made.created = call.created;
    made.model = model.name;
    made.usage = model.knobs.usage;
    made.usage_event =
        made.usage && is_true(member(member(request, "stream_options"), "include_usage"));
    return made;
}

void set_content(Generation& made, std::string text, const Knobs& knobs)
{
    made.output_tokens = tokens_of(text.size());
    made.pieces = Pieces(std::move(text), knobs.chunks);
}

}  // namespace

bool wants_stream(const Json& request)
{
    return is_true(member(request, "stream"));
}

Reply chat_reply(const Call& call, const Json& request, const Model& model)
{
    const auto& messages = member(request, "messages");
    if (!messages.is_array() || messages.empty()) {
        return error_reply(400, "'messages' must be a non-empty array.", "messages");
    }
    auto made = begin(call, request, model, "chatcmpl-");
    made.input_tokens = tokens_of(bytes_of_messages(messages));
    const auto* function = tool_to_call(request);
    if (function != nullptr) {
        made.tool.emplace();
        made.tool->id = make_id("call_", hash(call.body), call.sequence);
        made.tool->name = text_of(member(*function, "name"));
        set_content(made, arguments_for(member(*function, "parameters")), model.knobs);
    } else {
        set_content(made, reply_text(last_user_text(messages), model.knobs), model.knobs);
    }
    if (wants_stream(request)) {
        const auto events = made.pieces.size() + (made.usage_event ? 4U : 3U);
        return stream_of(std::move(made), events, chat_event);
    }

    OrderedJson message;
    message["role"] = "assistant";
    message["content"] = nullptr;
    if (made.tool) {
        message["tool_calls"].push_back(tool_json(*made.tool, made.pieces.text()));
    } else {
        message["content"] = made.pieces.text();
    }
    message["refusal"] = nullptr;
    OrderedJson choice;
    choice["index"] = 0;
    choice["message"] = std::move(message);
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = made.tool ? "tool_calls" : "stop";
    auto out = envelope(made, "chat.completion");
    out["choices"].push_back(std::move(choice));
    if (made.usage) {
        out["usage"] = usage_of(made);
    }
    Reply reply;
    reply.body = dump(out);
    return reply;
}

Reply completion_reply(const Call& call, const Json& request, const Model& model)
{
    const auto& prompt = member(request, "prompt");
    if (!prompt.is_string() && !prompt.is_array()) {
        return error_reply(400, "'prompt' must be a string or an array.", "prompt");
    }
    std::string said;
    append_text(said, prompt);
    auto made = begin(call, request, model, "cmpl-");
    made.input_tokens = tokens_of(said.size());
    set_content(made, reply_text(said, model.knobs), model.knobs);
    if (wants_stream(request)) {
        const auto events = made.pieces.size() + (made.usage_event ? 3U : 2U);
        return stream_of(std::move(made), events, completion_event);
    }
    auto out = envelope(made, "text_completion");
    out["choices"].push_back(text_choice(made.pieces.text(), "stop"));
    if (made.usage) {
        out["usage"] = usage_of(made);
    }
    Reply reply;
    reply.body = dump(out);
    return reply;
}

}  // namespace llmproxy::upstream::mock
