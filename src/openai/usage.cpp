#include "llmproxy/openai/usage.hpp"

#include "json.hpp"
#include "json_cursor.hpp"

namespace llmproxy::openai {
namespace {

/// A value of simdjson's, asked as json::Cursor is: the functions below read either.
class Parsed {
public:
    using Type = json::ondemand::json_type;

    explicit Parsed(json::ondemand::value value) noexcept : value_(value) {}

    [[nodiscard]] bool is_object() { return is(Type::object); }
    [[nodiscard]] bool is_array() { return is(Type::array); }
    [[nodiscard]] bool is_null() { return is(Type::null); }

    /// False when the object is broken before its end.
    template <typename Visit>
    static bool each_field(json::ondemand::object object, Visit&& visit)
    {
        for (auto item : object) {
            json::ondemand::field field;
            std::string_view key;
            if (json::read_field(item, field, key) != simdjson::SUCCESS) {
                return false;
            }
            Parsed value(field.value());
            visit(key, value);
        }
        return true;
    }
    template <typename Visit>
    bool each_field(Visit&& visit)
    {
        return each_field(value_.get_object().value_unsafe(), visit);
    }
    template <typename Visit>
    bool first_element(Visit&& visit)
    {
        auto array = value_.get_array().value_unsafe();  // named: the loop refers to it
        for (auto item : array) {
            json::ondemand::value element;
            if (item.get(element) == simdjson::SUCCESS) {
                Parsed first(element);
                visit(first);
            }
            return true;
        }
        return false;
    }
    void text(std::string& into)
    {
        std::string_view found;
        if (is(Type::string) && value_.get_string().get(found) == simdjson::SUCCESS) {
            into = found;
        }
    }
    void number(std::uint64_t& into)
    {
        std::uint64_t found = 0;
        if (value_.get_uint64().get(found) == simdjson::SUCCESS) {
            into = found;
        }
    }

private:
    bool is(Type wanted)
    {
        Type type{};
        return value_.type().get(type) == simdjson::SUCCESS && type == wanted;
    }

    json::ondemand::value value_;
};

template <typename Value>
void take_details(Value& value, Usage& usage, bool of_input)
{
    if (!value.is_object()) {
        return;
    }
    value.each_field([&usage, of_input](std::string_view key, Value& item) {
        if (key == "cached_tokens") {
            item.number(usage.cached_tokens);
        } else if (key == "reasoning_tokens") {
            item.number(usage.reasoning_tokens);
        } else if (key == "audio_tokens") {
            item.number(of_input ? usage.audio_input_tokens : usage.audio_output_tokens);
        }
    });
}

template <typename Value>
void take_count(std::string_view key, Value& value, Usage& usage)
{
    if (key == "prompt_tokens" || key == "input_tokens") {
        value.number(usage.input_tokens);
    } else if (key == "completion_tokens" || key == "output_tokens") {
        value.number(usage.output_tokens);
    } else if (key.ends_with("_tokens_details")) {
        take_details(value, usage, key.starts_with("prompt") || key.starts_with("input"));
    } else if (key == "cache_read_input_tokens") {
        value.number(usage.cache_read_tokens);
    } else if (key == "cache_creation_input_tokens") {
        value.number(usage.cache_write_tokens);
    } else if (key == "prompt_cache_hit_tokens") {
        value.number(usage.cached_tokens);
    }
}

template <typename Value>
bool take_usage(Value& value, Usage& usage)
{
    if (!value.is_object()) {
        return false;
    }
    usage.present = true;
    value.each_field([&usage](std::string_view key, Value& item) { take_count(key, item, usage); });
    return true;
}

/// The member `name` of an object, if it is a string.
template <typename Value>
void take_member(Value& value, std::string_view name, std::string& into)
{
    if (value.is_object()) {
        value.each_field([name, &into](std::string_view key, Value& item) {
            if (key == name) {
                item.text(into);
            }
        });
    }
}

template <typename Value>
void take_nested(Value& value, ReplyFacts& facts)
{
    if (!value.is_object()) {
        return;
    }
    value.each_field([&facts](std::string_view key, Value& item) {
        if (key == "usage") {
            take_usage(item, facts.usage);
        } else if (key == "model") {
            item.text(facts.model);
        } else if (key == "status" || key == "stop_reason") {
            item.text(facts.finish_reason);
        }
    });
}

template <typename Value>
void take_choices(Value& value, ReplyFacts& facts)
{
    if (value.is_array()) {
        facts.empty_choices = !value.first_element(
            [&facts](Value& first) { take_member(first, "finish_reason", facts.finish_reason); });
    }
}

template <typename Value>
void take_field(std::string_view key, Value& value, ReplyFacts& facts)
{
    if (key == "usage") {
        facts.top_usage = take_usage(value, facts.usage);
    } else if (key == "choices") {
        take_choices(value, facts);
    } else if (key == "model") {
        value.text(facts.model);
    } else if (key == "status" || key == "stop_reason") {
        value.text(facts.finish_reason);
    } else if (key == "delta") {
        take_member(value, "stop_reason", facts.finish_reason);
    } else if (key == "error") {
        facts.error = !value.is_null();
    } else if (key == "response" || key == "message") {
        take_nested(value, facts);
    }
}

/// Visits each field of the object that `text` is, as a cursor gives them. False if that cannot read it.
template <typename Visit>
bool each_quickly(std::string_view text, Visit&& visit)
{
    json::Cursor cursor(text);
    return cursor.at_object() && cursor.each_field(visit) && cursor.at_end();
}

/// Copies `text` where it may be read beyond its end, and opens it for simdjson.
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
    const auto take = [&facts](std::string_view key, auto& value) {
        take_field(key, value, facts);
    };
    facts.usage = known;
    facts.usage.present = false;
    facts.ok = each_quickly(text, take);
    if (!facts.ok) {
        facts = {};
        facts.usage = known;
        facts.usage.present = false;
        facts.ok = with_object(text, [&take](json::ondemand::object object) {
            return Parsed::each_field(object, take);
        });
    }
    return facts;
}

void read_usage(std::string_view object, Usage& usage)
{
    const auto known = usage;
    const auto take = [&usage](std::string_view key, auto& value) {
        take_count(key, value, usage);
    };
    usage.present = true;
    if (!each_quickly(object, take)) {
        usage = known;
        with_object(object, [&](json::ondemand::object fields) {
            usage.present = true;
            return Parsed::each_field(fields, take);
        });
    }
}

}  // namespace llmproxy::openai
