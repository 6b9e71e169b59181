#include "llmproxy/openai/usage.hpp"

#include "json.hpp"

namespace llmproxy::openai {
namespace {

using json::ondemand::json_type;

void number(json::ondemand::value value, std::uint64_t& into)
{
    std::uint64_t found = 0;
    if (value.get_uint64().get(found) == simdjson::SUCCESS) {
        into = found;
    }
}

bool is(json::ondemand::value& value, json_type wanted)
{
    json_type type{};
    return value.type().get(type) == simdjson::SUCCESS && type == wanted;
}

/// Calls `visit(key, value)` for each field; false when the object is broken before its end.
template <typename Visit>
bool each_field(json::ondemand::object object, Visit&& visit)
{
    for (auto item : object) {
        json::ondemand::field field;
        std::string_view key;
        if (json::read_field(item, field, key) != simdjson::SUCCESS) {
            return false;
        }
        visit(key, field.value());
    }
    return true;
}

void details(json::ondemand::value value, Usage& usage, bool of_input)
{
    if (!is(value, json_type::object)) {
        return;
    }
    each_field(
        value.get_object().value_unsafe(), [&](std::string_view key, json::ondemand::value item) {
            if (key == "cached_tokens") {
                number(item, usage.cached_tokens);
            } else if (key == "reasoning_tokens") {
                number(item, usage.reasoning_tokens);
            } else if (key == "audio_tokens") {
                number(item, of_input ? usage.audio_input_tokens : usage.audio_output_tokens);
            }
        });
}

void counts(json::ondemand::object object, Usage& usage)
{
    usage.present = true;
    each_field(object, [&](std::string_view key, json::ondemand::value item) {
        if (key == "prompt_tokens" || key == "input_tokens") {
            number(item, usage.input_tokens);
        } else if (key == "completion_tokens" || key == "output_tokens") {
            number(item, usage.output_tokens);
        } else if (key.ends_with("_tokens_details")) {
            details(item, usage, key.starts_with("prompt") || key.starts_with("input"));
        } else if (key == "cache_read_input_tokens") {
            number(item, usage.cache_read_tokens);
        } else if (key == "cache_creation_input_tokens") {
            number(item, usage.cache_write_tokens);
        } else if (key == "prompt_cache_hit_tokens") {
            number(item, usage.cached_tokens);
        }
    });
}

bool take_usage(json::ondemand::value value, Usage& usage)
{
    if (!is(value, json_type::object)) {
        return false;
    }
    counts(value.get_object().value_unsafe(), usage);
    return true;
}

void take_text(json::ondemand::value value, std::string& into)
{
    std::string_view text;
    if (is(value, json_type::string) && value.get_string().get(text) == simdjson::SUCCESS) {
        into = text;
    }
}

/// The member `name` of an object, if it is a string.
void take_member(json::ondemand::value value, std::string_view name, std::string& into)
{
    if (is(value, json_type::object)) {
        each_field(value.get_object().value_unsafe(),
                   [&](std::string_view key, json::ondemand::value item) {
                       if (key == name) {
                           take_text(item, into);
                       }
                   });
    }
}

void take_nested(json::ondemand::value value, ReplyFacts& facts)
{
    if (!is(value, json_type::object)) {
        return;
    }
    each_field(value.get_object().value_unsafe(),
               [&](std::string_view key, json::ondemand::value item) {
                   if (key == "usage") {
                       take_usage(item, facts.usage);
                   } else if (key == "model") {
                       take_text(item, facts.model);
                   } else if (key == "status" || key == "stop_reason") {
                       take_text(item, facts.finish_reason);
                   }
               });
}

void take_choices(json::ondemand::value value, ReplyFacts& facts)
{
    if (!is(value, json_type::array)) {
        return;
    }
    facts.empty_choices = true;
    auto choices = value.get_array().value_unsafe();  // named: the loop refers to it
    for (auto item : choices) {
        json::ondemand::value first;
        facts.empty_choices = false;
        if (item.get(first) == simdjson::SUCCESS) {
            take_member(first, "finish_reason", facts.finish_reason);
        }
        break;
    }
}

void take_field(std::string_view key, json::ondemand::value value, ReplyFacts& facts)
{
    if (key == "usage") {
        facts.top_usage = take_usage(value, facts.usage);
    } else if (key == "choices") {
        take_choices(value, facts);
    } else if (key == "model") {
        take_text(value, facts.model);
    } else if (key == "status" || key == "stop_reason") {
        take_text(value, facts.finish_reason);
    } else if (key == "delta") {
        take_member(value, "stop_reason", facts.finish_reason);
    } else if (key == "error") {
        facts.error = !is(value, json_type::null);
    } else if (key == "response" || key == "message") {
        take_nested(value, facts);
    }
}

/// Copies `text` where it may be read beyond its end, and opens it.
template <typename Read>
bool with_object(std::string_view text, Read&& read)
{
    thread_local std::string scratch;
    std::string large;
    std::string& copy = text.size() > json::kReusedCapacity ? large : scratch;
    copy.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    copy.assign(text);
    json::Parser parser(copy.size());
    json::ondemand::document doc;
    json::ondemand::object object;
    if ((*parser).iterate(json::padded(copy)).get(doc) != simdjson::SUCCESS ||
        doc.get_object().get(object) != simdjson::SUCCESS) {
        return false;
    }
    return read(object) && json::at_end(doc);
}

}  // namespace

ReplyFacts read_reply(std::string_view text, const Usage& known)
{
    ReplyFacts facts;
    facts.usage = known;
    facts.usage.present = false;
    facts.ok = with_object(text, [&](json::ondemand::object object) {
        return each_field(object, [&](std::string_view key, json::ondemand::value value) {
            take_field(key, value, facts);
        });
    });
    return facts;
}

void read_usage(std::string_view object, Usage& usage)
{
    with_object(object, [&](json::ondemand::object fields) {
        counts(fields, usage);
        return true;
    });
}

}  // namespace llmproxy::openai
