#include "mock_replies.hpp"

#include "mock_generation.hpp"
#include "mock_media.hpp"
#include "mock_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace llmproxy::upstream::mock {
namespace {

using Answer = Reply (*)(const Call&, const Json&, const Model&);

struct Route {
    std::string_view path;
    Answer answer;
};

constexpr std::array<Route, 5> kJsonRoutes{
    Route{"/v1/chat/completions", chat_reply}, Route{"/v1/completions", completion_reply},
    Route{"/v1/embeddings", embeddings_reply}, Route{"/v1/responses", responses_reply},
    Route{"/v1/audio/speech", speech_reply},
};
constexpr std::string_view kFiles = "/v1/files";
constexpr std::string_view kTranscriptions = "/v1/audio/transcriptions";
constexpr std::string_view kModels = "/v1/models";
constexpr std::array<std::string_view, 2> kModelNames{"mock-gpt", "mock-embed"};

const Route* json_route(std::string_view path)
{
    const auto* found = std::find_if(kJsonRoutes.begin(), kJsonRoutes.end(),
                                     [path](const Route& route) { return route.path == path; });
    return found == kJsonRoutes.end() ? nullptr : found;
}

bool is_form_path(std::string_view path)
{
    return path == kFiles || path == kTranscriptions;
}

/// The error that the knobs ask for, if it is this request's turn.
std::optional<Reply> asked_failure(const Call& call, const Knobs& knobs, bool streams,
                                   std::atomic<std::uint64_t>& shares)
{
    constexpr std::uint32_t kAlways = 1'000'000;
    const auto share = knobs.failing_millionths;
    if (share == 0 || (share < kAlways && !fails(shares.fetch_add(1) + 1, share))) {
        return std::nullopt;
    }
    const auto message = "The mock provider was asked to fail with status " +
                         std::to_string(knobs.error_status) + ".";
    if (!streams || !knobs.error_frame) {
        return error_reply(knobs.error_status, message);
    }
    Reply reply;
    reply.content_type = "text/event-stream; charset=utf-8";
    reply.fields = "Cache-Control: no-cache\r\n";
    reply.pieces = 1;
    auto error = error_object(knobs.error_status, message, {});
    std::string frame;
    if (call.path == "/v1/responses") {
        error["type"] = "error";
        error["sequence_number"] = 0;
        frame = "event: error\ndata: " + dump(error) + "\n\n";
    } else {
        OrderedJson out;
        out["error"] = std::move(error);
        frame = "data: " + dump(out) + "\n\n";
    }
    reply.piece = [frame](std::uint64_t) { return frame; };
    return reply;
}

Reply refusal_of(const core::Failure& failure)
{
    return error_reply(400, failure.message(), failure.param());
}

Reply json_reply(const Call& call, Answer make, const MockSettings& settings,
                 std::atomic<std::uint64_t>& shares)
{
    const auto request = Json::parse(call.body, nullptr, false);
    if (!request.is_object()) {
        return error_reply(400, "The body could not be parsed as a JSON object.");
    }
    const auto name = text_of(member(request, "model"));
    if (name.empty()) {
        return error_reply(400, "You must provide a model parameter.", "model");
    }
    const auto model = parse_model(name, settings);
    if (!model) {
        return refusal_of(model.error());
    }
    auto failure = asked_failure(call, model->knobs, wants_stream(request), shares);
    auto reply = failure ? std::move(*failure) : make(call, request, *model);
    reply.knobs = model->knobs;
    return reply;
}

Reply form_reply(const Call& call, const MockSettings& settings, std::atomic<std::uint64_t>& shares)
{
    if (!call.form || !call.form->complete()) {
        return error_reply(400, "The body could not be parsed as multipart/form-data.");
    }
    const auto model = parse_model(call.form->field("model"), settings);
    if (!model) {
        return refusal_of(model.error());
    }
    auto failure = asked_failure(call, model->knobs, false, shares);
    auto reply = failure               ? std::move(*failure)
                 : call.path == kFiles ? file_reply(call)
                                       : transcription_reply(call, *model);
    reply.knobs = model->knobs;
    return reply;
}

OrderedJson model_json(std::string_view name)
{
    OrderedJson out;
    out["id"] = name;
    out["object"] = "model";
    out["created"] = 1'700'000'000;
    out["owned_by"] = "llm-proxy";
    return out;
}

Reply models_reply(std::string_view path)
{
    Reply reply;
    if (path == kModels) {
        OrderedJson out;
        out["object"] = "list";
        for (const auto name : kModelNames) {
            out["data"].push_back(model_json(name));
        }
        reply.body = dump(out);
        return reply;
    }
    const auto name = path.substr(kModels.size() + 1);
    if (std::find(kModelNames.begin(), kModelNames.end(), name) == kModelNames.end()) {
        return error_reply(404, "The model '" + std::string(name) + "' does not exist.", "model");
    }
    reply.body = dump(model_json(name));
    return reply;
}

bool is_models_path(std::string_view path)
{
    return path == kModels || (path.starts_with(kModels) && path[kModels.size()] == '/');
}

Reply url_error(const Call& call, unsigned status, std::string_view allow)
{
    auto error = error_object(status, "Invalid URL (" + call.method + " " + call.path + ")", {});
    error["code"] = nullptr;
    OrderedJson out;
    out["error"] = std::move(error);
    Reply reply;
    reply.status = status;
    reply.body = dump(out);
    if (!allow.empty()) {
        reply.fields = "Allow: " + std::string(allow) + "\r\n";
    }
    return reply;
}

}  // namespace

BodyUse body_use(std::string_view method, std::string_view path) noexcept
{
    if (method != "POST") {
        return BodyUse::none;
    }
    if (is_form_path(path)) {
        return BodyUse::form;
    }
    return json_route(path) != nullptr ? BodyUse::json : BodyUse::none;
}

Reply answer(const Call& call, const MockSettings& settings, std::atomic<std::uint64_t>& shares)
{
    const bool posts = call.method == "POST";
    if (const auto* route = json_route(call.path); route != nullptr) {
        return posts ? json_reply(call, route->answer, settings, shares)
                     : url_error(call, 405, "POST");
    }
    if (is_form_path(call.path)) {
        return posts ? form_reply(call, settings, shares) : url_error(call, 405, "POST");
    }
    if (is_models_path(call.path)) {
        const bool reads = call.method == "GET" || call.method == "HEAD";
        return reads ? models_reply(call.path) : url_error(call, 405, "GET, HEAD");
    }
    return url_error(call, 404, {});
}

Reply error_reply(unsigned status, std::string_view message, std::string_view param)
{
    OrderedJson out;
    out["error"] = error_object(status, message, param);
    Reply reply;
    reply.status = status;
    reply.body = dump(out);
    if (status == 429 || status == 503) {
        reply.fields = "Retry-After: 1\r\n";
    }
    return reply;
}

}  // namespace llmproxy::upstream::mock
