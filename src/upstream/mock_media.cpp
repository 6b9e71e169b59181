#include "mock_media.hpp"

#include "llmproxy/core/base64.hpp"
#include "mock_prompt.hpp"
#include "mock_text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace llmproxy::upstream::mock {
namespace {

constexpr std::uint64_t kDefaultDimensions = 256;
constexpr std::uint64_t kMaxDimensions = 8192;
constexpr std::size_t kMaxInputs = 2048;
constexpr std::uint64_t kDefaultAudioBytes = 8192;

/// One text to embed, as far as it matters: what the vector and the token count are made from.
struct Input {
    std::uint64_t hashed = kHashSeed;
    std::uint64_t tokens = 0;
};

bool is_token(const Json& value)
{
    return value.is_number_integer();
}

Input input_of(const Json& item)
{
    Input input;
    if (item.is_string()) {
        input.hashed = hash(text_of(item));
        input.tokens = tokens_of(text_of(item).size());
        return input;
    }
    for (const auto& token : item) {
        input.hashed = hash(std::to_string(token.get<std::int64_t>()) + ",", input.hashed);
    }
    input.tokens = item.size();
    return input;
}

/// A text, a list of tokens, or a list of either; empty if it is none of them.
std::vector<Input> inputs_of(const Json& given)
{
    const auto is_input = [](const Json& item) {
        return item.is_string() || (item.is_array() && !item.empty() &&
                                    std::all_of(item.begin(), item.end(), is_token));
    };
    std::vector<Input> inputs;
    if (is_input(given)) {
        inputs.push_back(input_of(given));
    } else if (given.is_array() && std::all_of(given.begin(), given.end(), is_input)) {
        std::transform(given.begin(), given.end(), std::back_inserter(inputs), input_of);
    }
    return inputs;
}

/// A vector of length one.
std::vector<float> vector_of(std::uint64_t hashed, std::uint64_t dimensions)
{
    std::vector<double> raw;
    raw.reserve(dimensions);
    double squares = 0;
    for (std::uint64_t i = 0; i < dimensions; ++i) {
        const auto value = static_cast<double>(scatter(hashed, i) >> 11U) / 0x1p52 - 1.0;
        raw.push_back(value);
        squares += value * value;
    }
    const auto scale = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
    std::vector<float> out;
    out.reserve(dimensions);
    std::transform(raw.begin(), raw.end(), std::back_inserter(out),
                   [scale](double value) { return static_cast<float>(value * scale); });
    return out;
}

std::string base64_floats(const std::vector<float>& values)
{
    std::string bytes;
    bytes.reserve(values.size() * 4);
    for (const float value : values) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (unsigned shift = 0; shift < 32; shift += 8) {
            bytes += static_cast<char>(bits >> shift & 0xffU);
        }
    }
    return '"' + core::encode_base64(bytes) + '"';
}

std::string json_floats(const std::vector<float>& values)
{
    std::string out = "[";
    std::array<char, 32> digits{};
    for (const float value : values) {
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
        out.append(out.size() > 1 ? "," : "").append(digits.data(), end);
    }
    return out + ']';
}

std::string_view audio_type(std::string_view format)
{
    constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kTypes{
        std::pair{"mp3", "audio/mpeg"}, std::pair{"opus", "audio/ogg"},
        std::pair{"aac", "audio/aac"},  std::pair{"flac", "audio/flac"},
        std::pair{"wav", "audio/wav"},  std::pair{"pcm", "audio/pcm"},
    };
    const auto* found = std::find_if(kTypes.begin(), kTypes.end(),
                                     [format](const auto& entry) { return entry.first == format; });
    return found == kTypes.end() ? std::string_view() : found->second;
}

/// Bytes `begin` to `end` of an endless deterministic noise.
std::string noise(std::uint64_t seed, std::uint64_t begin, std::uint64_t end)
{
    std::string out;
    out.reserve(end - begin);
    for (auto at = begin; at < end; ++at) {
        out += static_cast<char>(scatter(seed, at / 8) >> (8 * (at % 8)) & 0xffU);
    }
    return out;
}

}  // namespace

Reply embeddings_reply(const Call&, const Json& request, const Model& model)
{
    const auto inputs = inputs_of(member(request, "input"));
    if (inputs.empty() || inputs.size() > kMaxInputs) {
        return error_reply(400, "'input' must be a text, a list of tokens, or 1 to 2048 of them.",
                           "input");
    }
    auto dimensions = kDefaultDimensions;
    const auto& wanted = member(request, "dimensions");
    if (!wanted.is_null()) {
        dimensions = wanted.is_number_unsigned() ? wanted.get<std::uint64_t>() : 0;
        if (dimensions == 0 || dimensions > kMaxDimensions) {
            return error_reply(400, "'dimensions' must be 1 to 8192.", "dimensions");
        }
    }
    const auto format = text_of(member(request, "encoding_format"));
    if (!format.empty() && format != "float" && format != "base64") {
        return error_reply(400, "'encoding_format' must be float or base64.", "encoding_format");
    }

    // Written as text: a tree of a thousand vectors would be many times the reply.
    Reply reply;
    std::uint64_t tokens = 0;
    reply.body = R"({"object":"list","data":[)";
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto vector = vector_of(inputs[i].hashed, dimensions);
        reply.body += i == 0 ? "" : ",";
        reply.body += R"({"object":"embedding","index":)" + std::to_string(i) + R"(,"embedding":)";
        reply.body += format == "base64" ? base64_floats(vector) : json_floats(vector);
        reply.body += '}';
        tokens += inputs[i].tokens;
    }
    reply.body += R"(],"model":)" + dump(model.name);
    if (model.knobs.usage) {
        OrderedJson usage;
        usage["prompt_tokens"] = tokens;
        usage["total_tokens"] = tokens;
        reply.body += R"(,"usage":)" + dump(usage);
    }
    reply.body += '}';
    return reply;
}

Reply speech_reply(const Call& call, const Json& request, const Model& model)
{
    if (text_of(member(request, "input")).empty()) {
        return error_reply(400, "'input' must be a text.", "input");
    }
    const auto format = text_of(member(request, "response_format"));
    const auto type = audio_type(format.empty() ? std::string_view("mp3") : format);
    if (type.empty()) {
        return error_reply(400, "'response_format' is not known.", "response_format");
    }
    const auto seed = hash(call.body);
    const auto bytes = model.knobs.bytes.value_or(kDefaultAudioBytes);
    const auto pieces = std::min<std::uint64_t>(model.knobs.chunks, bytes);
    Reply reply;
    reply.content_type = type;
    reply.pieces = pieces;
    reply.piece = [seed, bytes, pieces](std::uint64_t index) {
        return noise(seed, index * bytes / pieces, (index + 1) * bytes / pieces);
    };
    return reply;
}

Reply file_reply(const Call& call)
{
    const auto& form = *call.form;
    if (!form.has_file()) {
        return error_reply(400, "'file' is a required property.", "file");
    }
    if (form.field("purpose").empty()) {
        return error_reply(400, "'purpose' is a required property.", "purpose");
    }
    OrderedJson out;
    out["id"] = make_id("file-", form.file_hash(), call.sequence);
    out["object"] = "file";
    out["bytes"] = form.file_bytes();
    out["created_at"] = call.created;
    out["filename"] = form.file_name();
    out["purpose"] = form.field("purpose");
    out["status"] = "processed";
    Reply reply;
    reply.body = dump(out);
    return reply;
}

Reply transcription_reply(const Call& call, const Model& model)
{
    const auto& form = *call.form;
    if (model.name.empty()) {
        return error_reply(400, "You must provide a model parameter.", "model");
    }
    if (!form.has_file()) {
        return error_reply(400, "'file' is a required property.", "file");
    }
    OrderedJson out;
    out["text"] = "You sent " + std::to_string(form.file_bytes()) + " bytes of audio.";
    out["bytes"] = form.file_bytes();
    Reply reply;
    reply.body = dump(out);
    return reply;
}

}  // namespace llmproxy::upstream::mock
