#include "llmproxy/openai/request_facts.hpp"

#include "json.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace llmproxy::openai {
namespace {

using json::ondemand::json_type;
using StreamOptions = RequestFacts::StreamOptions;

core::Failure refused(std::string message, std::string_view param = {})
{
    core::Failure failure(core::Errc::bad_request, core::Origin::client, message);
    failure.say(std::move(message)).at(std::string(param));
    return failure;
}

core::Failure broken(simdjson::error_code error)
{
    switch (error) {
    case simdjson::UTF8_ERROR: return refused("The JSON body of the request is not valid UTF-8.");
    case simdjson::DEPTH_ERROR:
        return refused("The JSON body of the request is nested too deeply.");
    case simdjson::EMPTY: return refused("The request needs a JSON body.");
    case simdjson::UNCLOSED_STRING:
        return refused("The JSON body of the request ends inside a string.");
    default: return refused("The body of the request is not valid JSON.");
    }
}

core::Failure wrong_type(std::string_view param, std::string_view expected)
{
    return refused("'" + std::string(param) + "' must be " + std::string(expected) + ".", param);
}

/// Reads the top-level fields one after another into `facts_`.
class Reader {
public:
    Reader(RequestFacts& facts, const char* start) : facts_(facts), start_(start) {}

    core::Result<void> field(std::string_view key, json::ondemand::value value)
    {
        if (key == "model") {
            return once(seen_model_, key) ? model(value) : again(key);
        }
        if (key == "stream") {
            return once(seen_stream_, key) ? boolean(key, value, stream_) : again(key);
        }
        if (key == "stream_options") {
            return once(seen_options_, key) ? options(value) : again(key);
        }
        if (key == "max_tokens") {
            return once(seen_max_[0], key) ? maximum(key, value) : again(key);
        }
        if (key == "max_completion_tokens") {
            return once(seen_max_[1], key) ? maximum(key, value) : again(key);
        }
        if (key == "max_output_tokens") {
            return once(seen_max_[2], key) ? maximum(key, value) : again(key);
        }
        if (key == "n") {
            return once(seen_n_, key) ? count(key, value, facts_.n) : again(key);
        }
        return any(value);
    }

    void finish() { facts_.stream = stream_.value_or(false); }

private:
    static bool once(bool& seen, std::string_view) noexcept { return !std::exchange(seen, true); }
    static core::Failure again(std::string_view key)
    {
        return refused("'" + std::string(key) + "' is given more than once.", key);
    }
    std::size_t offset(json::ondemand::value& value) const
    {
        return static_cast<std::size_t>(value.raw_json_token().data() - start_);
    }

    static core::Result<void> any(json::ondemand::value value)
    {
        if (const auto error = json::validate(value)) {
            return broken(error);
        }
        return {};
    }

    /// Sets `type`; fails when the token is no JSON value.
    static core::Result<json_type> type_of(json::ondemand::value& value)
    {
        json_type type{};
        if (const auto error = value.type().get(type)) {
            return broken(error);
        }
        return type;
    }

    core::Result<void> model(json::ondemand::value value)
    {
        const auto type = type_of(value);
        if (!type) {
            return type.error();
        }
        if (*type != json_type::string) {
            return wrong_type("model", "a string");
        }
        std::string_view text;
        if (const auto error = value.get_string().get(text)) {
            return broken(error);
        }
        facts_.model.emplace(text);
        return {};
    }

    static core::Result<void> boolean(std::string_view key, json::ondemand::value value,
                                      std::optional<bool>& into)
    {
        const auto type = type_of(value);
        if (!type) {
            return type.error();
        }
        if (*type == json_type::null) {
            return any(value);
        }
        if (*type != json_type::boolean) {
            return wrong_type(key, "a boolean");
        }
        bool flag = false;
        if (const auto error = value.get_bool().get(flag)) {
            return broken(error);
        }
        into = flag;
        return {};
    }

    static core::Result<void> count(std::string_view key, json::ondemand::value value,
                                    std::optional<std::uint64_t>& into)
    {
        const auto type = type_of(value);
        if (!type) {
            return type.error();
        }
        if (*type == json_type::null) {
            return any(value);
        }
        std::uint64_t number = 0;
        if (*type != json_type::number || value.get_uint64().get(number) != simdjson::SUCCESS) {
            return wrong_type(key, "a whole number that is not negative");
        }
        into = number;
        return {};
    }

    core::Result<void> maximum(std::string_view key, json::ondemand::value value)
    {
        std::optional<std::uint64_t> number;
        auto result = count(key, value, number);
        if (result && number) {
            facts_.max_tokens = std::max(facts_.max_tokens.value_or(0), *number);
        }
        return result;
    }

    core::Result<void> options(json::ondemand::value value)
    {
        const auto type = type_of(value);
        if (!type) {
            return type.error();
        }
        facts_.options_start = offset(value);
        if (*type == json_type::null) {
            facts_.stream_options = StreamOptions::null;
            return any(value);
        }
        if (*type != json_type::object) {
            return wrong_type("stream_options", "an object");
        }
        facts_.stream_options = StreamOptions::object;
        json::ondemand::object object;
        if (const auto error = value.get_object().get(object)) {
            return broken(error);
        }
        for (auto item : object) {
            facts_.options_empty = false;
            json::ondemand::field field;
            std::string_view key;
            if (const auto error = json::read_field(item, field, key)) {
                return broken(error);
            }
            auto result =
                key == "include_usage" ? include_usage(field.value()) : any(field.value());
            if (!result) {
                return result;
            }
        }
        return {};
    }

    core::Result<void> include_usage(json::ondemand::value value)
    {
        constexpr std::string_view kName = "stream_options.include_usage";
        if (facts_.include_usage_length != 0) {
            return again(kName);
        }
        facts_.include_usage_start = offset(value);
        auto result = boolean(kName, value, facts_.include_usage);
        facts_.include_usage_length = facts_.include_usage == false ? 5 : 4;  // false, true, null
        return result;
    }

    RequestFacts& facts_;
    const char* start_;
    std::optional<bool> stream_;
    bool seen_model_ = false;
    bool seen_stream_ = false;
    bool seen_options_ = false;
    bool seen_max_[3] = {};
    bool seen_n_ = false;
};

namespace dom = simdjson::dom;

/// Takes a field that may be given once; false if it is given again or is not what it should be.
bool take_count(const dom::element& value, bool& seen, std::optional<std::uint64_t>& into)
{
    std::uint64_t number = 0;
    if (std::exchange(seen, true)) {
        return false;
    }
    if (value.is_null()) {
        return true;
    }
    if (value.get_uint64().get(number) != simdjson::SUCCESS) {
        return false;
    }
    into = std::max(into.value_or(0), number);
    return true;
}

bool take_field(std::string_view key, const dom::element& value, RequestFacts& facts,
                unsigned& seen)
{
    constexpr std::array<std::string_view, 4> kCounts{"max_tokens", "max_completion_tokens",
                                                      "max_output_tokens", "n"};
    if (key == "model") {
        std::string_view text;
        if (facts.model || value.get_string().get(text) != simdjson::SUCCESS) {
            return false;
        }
        facts.model.emplace(text);
        return true;
    }
    if (key == "stream") {
        const bool again = (seen & 1U) != 0;
        seen |= 1U;
        return !again &&
               (value.is_null() || value.get_bool().get(facts.stream) == simdjson::SUCCESS);
    }
    const auto* const found = std::find(kCounts.begin(), kCounts.end(), key);
    if (found != kCounts.end()) {
        const auto bit = 2U << static_cast<unsigned>(found - kCounts.begin());
        bool before = (seen & bit) != 0;
        seen |= bit;
        return take_count(value, before, key == "n" ? facts.n : facts.max_tokens);
    }
    return key != "stream_options";  // needs offsets, which only the thorough reader knows
}

/// Reads a small ordinary body with the parser that validates everything: less than half the time of the other
/// below this size, but ten bytes of memory for one of the body. Whatever is unusual is left to `read_thoroughly`.
std::optional<RequestFacts> read_quickly(std::string& body)
{
    constexpr std::size_t kLargest = std::size_t{32} * 1024;
    constexpr std::size_t kDepth = 512;
    thread_local dom::parser parser(kLargest);
    if (body.size() > kLargest ||
        (parser.max_depth() != kDepth && parser.allocate(kLargest, kDepth) != simdjson::SUCCESS)) {
        return std::nullopt;
    }
    const auto text = json::padded(body);
    dom::object object;
    if (parser.parse(text.data(), text.size(), false).get_object().get(object) !=
        simdjson::SUCCESS) {
        return std::nullopt;
    }
    RequestFacts facts;
    facts.object_start = body.find('{') + 1;
    unsigned seen = 0;
    for (const auto field : object) {
        facts.object_empty = false;
        if (!take_field(field.key, field.value, facts, seen)) {
            return std::nullopt;
        }
    }
    return facts;
}

core::Result<RequestFacts> read_thoroughly(std::string& body)
{
    json::Parser parser(body.size());
    json::ondemand::document doc;
    if (const auto error = (*parser).iterate(json::padded(body)).get(doc)) {
        return broken(error);
    }
    json_type type{};
    if (const auto error = doc.type().get(type)) {
        return broken(error);
    }
    if (type != json_type::object) {
        return refused("The JSON body of the request must be an object.");
    }
    json::ondemand::object object;
    if (const auto error = doc.get_object().get(object)) {
        return broken(error);
    }
    RequestFacts facts;
    facts.object_start = body.find('{') + 1;
    Reader reader(facts, body.data());
    for (auto item : object) {
        facts.object_empty = false;
        json::ondemand::field field;
        std::string_view key;
        if (const auto error = json::read_field(item, field, key)) {
            return broken(error);
        }
        if (auto result = reader.field(key, field.value()); !result) {
            return result.error();
        }
    }
    if (!json::at_end(doc)) {
        return refused("The JSON body of the request has something behind its end.");
    }
    reader.finish();
    return facts;
}

}  // namespace

core::Result<RequestFacts> read_facts(std::string& body)
{
    if (auto facts = read_quickly(body)) {
        return *std::move(facts);
    }
    return read_thoroughly(body);
}

std::optional<Splice> usage_splice(const RequestFacts& facts)
{
    constexpr std::string_view kAsk = "\"include_usage\":true";
    if (!facts.stream || facts.wants_usage()) {
        return std::nullopt;
    }
    Splice splice;
    const std::string object = "{" + std::string(kAsk) + "}";
    if (facts.stream_options == StreamOptions::absent) {
        splice.offset = facts.object_start;
        splice.text = "\"stream_options\":" + object + (facts.object_empty ? "" : ",");
    } else if (facts.stream_options == StreamOptions::null) {
        splice.offset = facts.options_start;
        splice.remove = 4;
        splice.text = object;
    } else if (facts.include_usage_length != 0) {
        splice.offset = facts.include_usage_start;
        splice.remove = facts.include_usage_length;
        splice.text = "true";
    } else {
        splice.offset = facts.options_start + 1;
        splice.text = std::string(kAsk) + (facts.options_empty ? "" : ",");
    }
    return splice;
}

std::optional<Splice> model_splice(std::string& body, std::string_view model_json)
{
    json::Parser parser(body.size());
    json::ondemand::document doc;
    json::ondemand::object object;
    if ((*parser).iterate(json::padded(body)).get(doc) != simdjson::SUCCESS ||
        doc.get_object().get(object) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    for (auto item : object) {
        json::ondemand::field field;
        std::string_view key;
        if (json::read_field(item, field, key) != simdjson::SUCCESS) {
            return std::nullopt;
        }
        if (key != "model") {
            continue;
        }
        const auto token = field.value().raw_json_token();
        std::size_t length = 1;  // up to and with the quote that is not escaped
        while (token[length] != '"') {
            length += token[length] == '\\' ? 2 : 1;
        }
        return Splice{static_cast<std::size_t>(token.data() - body.data()), length + 1,
                      std::string(model_json)};
    }
    return std::nullopt;
}

std::string spliced(std::string_view body, const Splice& splice)
{
    std::string changed;
    changed.reserve(body.size() + splice.text.size());
    changed.append(body.substr(0, splice.offset));
    changed.append(splice.text);
    changed.append(body.substr(splice.offset + splice.remove));
    return changed;
}

}  // namespace llmproxy::openai
