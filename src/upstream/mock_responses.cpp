#include "mock_generation.hpp"
#include "mock_prompt.hpp"
#include "mock_text.hpp"

#include <memory>
#include <utility>

namespace llmproxy::upstream::mock {
namespace {

constexpr std::uint64_t kEventsBefore = 4;
constexpr std::uint64_t kEventsAfter = 4;

struct Made {
    std::string response_id;
    std::string item_id;
    std::int64_t created = 0;
    std::string model;
    std::uint64_t input_tokens = 0;
    Pieces pieces;
    bool usage = true;
};

OrderedJson part_of(std::string_view text)
{
    OrderedJson part;
    part["type"] = "output_text";
    part["text"] = text;
    part["annotations"] = OrderedJson::array();
    return part;
}

OrderedJson item_of(const Made& made, bool completed)
{
    OrderedJson item;
    item["id"] = made.item_id;
    item["type"] = "message";
    item["status"] = completed ? "completed" : "in_progress";
    item["role"] = "assistant";
    item["content"] = OrderedJson::array();
    if (completed) {
        item["content"].push_back(part_of(made.pieces.text()));
    }
    return item;
}

OrderedJson usage_of(const Made& made)
{
    const auto output_tokens = tokens_of(made.pieces.text().size());
    OrderedJson usage;
    usage["input_tokens"] = made.input_tokens;
    usage["input_tokens_details"]["cached_tokens"] = 0;
    usage["output_tokens"] = output_tokens;
    usage["output_tokens_details"]["reasoning_tokens"] = 0;
    usage["total_tokens"] = made.input_tokens + output_tokens;
    return usage;
}

OrderedJson response_of(const Made& made, bool completed)
{
    OrderedJson out;
    out["id"] = made.response_id;
    out["object"] = "response";
    out["created_at"] = made.created;
    out["status"] = completed ? "completed" : "in_progress";
    out["error"] = nullptr;
    out["incomplete_details"] = nullptr;
    out["model"] = made.model;
    out["output"] = OrderedJson::array();
    if (completed) {
        out["output"].push_back(item_of(made, true));
    }
    out["parallel_tool_calls"] = true;
    out["tool_choice"] = "auto";
    out["tools"] = OrderedJson::array();
    if (made.usage) {
        out["usage"] = completed ? usage_of(made) : OrderedJson();
    }
    return out;
}

OrderedJson typed(const char* type, std::uint64_t number)
{
    OrderedJson out;
    out["type"] = type;
    out["sequence_number"] = number;
    return out;
}

/// Adds where in the response the event belongs.
void place(OrderedJson& out, const Made& made)
{
    out["item_id"] = made.item_id;
    out["output_index"] = 0;
    out["content_index"] = 0;
}

OrderedJson event_before(const Made& made, std::uint64_t index)
{
    if (index < 2) {
        auto out = typed(index == 0 ? "response.created" : "response.in_progress", index);
        out["response"] = response_of(made, false);
        return out;
    }
    if (index == 2) {
        auto out = typed("response.output_item.added", index);
        out["output_index"] = 0;
        out["item"] = item_of(made, false);
        return out;
    }
    auto out = typed("response.content_part.added", index);
    place(out, made);
    out["part"] = part_of("");
    return out;
}

OrderedJson event_after(const Made& made, std::uint64_t which, std::uint64_t index)
{
    if (which == 0) {
        auto out = typed("response.output_text.done", index);
        place(out, made);
        out["text"] = made.pieces.text();
        return out;
    }
    if (which == 1) {
        auto out = typed("response.content_part.done", index);
        place(out, made);
        out["part"] = part_of(made.pieces.text());
        return out;
    }
    if (which == 2) {
        auto out = typed("response.output_item.done", index);
        out["output_index"] = 0;
        out["item"] = item_of(made, true);
        return out;
    }
    auto out = typed("response.completed", index);
    out["response"] = response_of(made, true);
    return out;
}

OrderedJson event_at(const Made& made, std::uint64_t index)
{
    if (index < kEventsBefore) {
        return event_before(made, index);
    }
    const auto content = index - kEventsBefore;
    if (content >= made.pieces.size()) {
        return event_after(made, content - made.pieces.size(), index);
    }
    auto out = typed("response.output_text.delta", index);
    place(out, made);
    out["delta"] = made.pieces.piece(content);
    return out;
}

std::string named_event(const OrderedJson& value)
{
    return "event: " + value["type"].get<std::string>() + "\ndata: " + dump(value) + "\n\n";
}

}  // namespace

Reply responses_reply(const Call& call, const Json& request, const Model& model)
{
    const auto& input = member(request, "input");
    if (!input.is_string() && !input.is_array()) {
        return error_reply(400, "'input' must be a string or an array.", "input");
    }
    std::string said;
    std::uint64_t input_bytes = text_of(member(request, "instructions")).size();
    if (input.is_string()) {
        said = text_of(input);
        input_bytes += said.size();
    } else {
        said = last_user_text(input);
        input_bytes += bytes_of_messages(input);
    }

    const auto hashed = hash(call.body);
    auto made = std::make_shared<Made>();
    made->response_id = make_id("resp_", hashed, call.sequence);
    made->item_id = make_id("msg_", hashed, call.sequence);
    made->created = call.created;
    made->model = model.name;
    made->input_tokens = tokens_of(input_bytes);
    made->pieces = Pieces(reply_text(said, model.knobs), model.knobs.chunks);
    made->usage = model.knobs.usage;

    Reply reply;
    if (!wants_stream(request)) {
        reply.body = dump(response_of(*made, true));
        return reply;
    }
    reply.content_type = "text/event-stream; charset=utf-8";
    reply.fields = "Cache-Control: no-cache\r\n";
    reply.pieces = kEventsBefore + made->pieces.size() + kEventsAfter;
    reply.piece = [made](std::uint64_t index) { return named_event(event_at(*made, index)); };
    return reply;
}

}  // namespace llmproxy::upstream::mock
