#include "llmproxy/openai/cost_facts.hpp"

#include "json.hpp"

#include <algorithm>
#include <string_view>

namespace llmproxy::openai {
namespace {

using json::ondemand::json_type;

constexpr int kMaxDepth = 512;

bool is_string(json::ondemand::value& value, std::string_view& text)
{
    json_type type{};
    return value.type().get(type) == simdjson::SUCCESS && type == json_type::string &&
           value.get_string().get(text) == simdjson::SUCCESS;
}

/// The walk through one body. What cannot be read counts as everything that costs.
class Walk {
public:
    explicit Walk(CostFacts& facts) : facts_(facts) {}

    /// \param key  the member that `value` belongs to, or its array; empty at the top.
    bool visit(json::ondemand::value value, std::string_view key, int depth)
    {
        json_type type{};
        if (depth > kMaxDepth || value.type().get(type) != simdjson::SUCCESS) {
            return false;
        }
        switch (type) {
        case json_type::object: return object(value, key, depth);
        case json_type::array: return array(value, key, depth);
        case json_type::string: {
            std::string_view text;
            return is_string(value, text) && (note_text(key, text), true);
        }
        case json_type::number: {
            std::uint64_t number = 0;
            if (key == "best_of" && depth == 1 &&
                value.get_uint64().get(number) == simdjson::SUCCESS) {
                facts_.best_of = std::max(facts_.best_of, number);
            }
            return true;
        }
        default: return true;
        }
    }

    bool members(json::ondemand::object object, bool in_tools, int depth)
    {
        for (auto item : object) {
            json::ondemand::field field;
            std::string_view key;
            if (json::read_field(item, field, key) != simdjson::SUCCESS) {
                return false;
            }
            note_member(key, in_tools);
            // Keys of a tool's own schema mean nothing here.
            if (in_tools && key != "type") {
                continue;
            }
            if (!visit(field.value(), in_tools ? "tools.type" : key, depth + 1)) {
                return false;
            }
        }
        return true;
    }

private:
    bool object(json::ondemand::value& value, std::string_view key, int depth)
    {
        json::ondemand::object object;
        return value.get_object().get(object) == simdjson::SUCCESS &&
               members(object, key == "tools", depth);
    }

    bool array(json::ondemand::value& value, std::string_view key, int depth)
    {
        json::ondemand::array array;
        if (value.get_array().get(array) != simdjson::SUCCESS) {
            return false;
        }
        for (auto item : array) {
            json::ondemand::value element;
            if (std::move(item).get(element) != simdjson::SUCCESS ||
                !visit(element, key, depth + 1)) {
                return false;
            }
        }
        return true;
    }

    void note_member(std::string_view key, bool in_tools)
    {
        if (key == "file_id" || key == "file_url" || key == "file_ids" ||
            key == "previous_response_id" || key == "conversation" || key == "prompt_id") {
            facts_.remote_content = true;
        } else if (key == "web_search_options" || key == "plugins" || key == "search_parameters") {
            facts_.hosted_tools = true;
        } else if (!in_tools && (key == "input_audio" || key == "audio")) {
            facts_.audio = true;
        }
    }

    void note_text(std::string_view key, std::string_view text)
    {
        const bool address = key == "url" || key == "image_url" || key == "video_url";
        if (address && !text.starts_with("data:")) {
            facts_.remote_content = true;
        } else if (address) {
            // A picture in the body costs by its size in pixels, which its bytes bound.
        } else if (key == "tools.type" && text != "function" && text != "custom") {
            facts_.hosted_tools = true;
        } else if (key == "modalities" && text == "audio") {
            facts_.audio = true;
        }
    }

    CostFacts& facts_;
};

}  // namespace

CostFacts read_cost_facts(std::string& body)
{
    CostFacts facts;
    json::Parser parser(body.size());
    json::ondemand::document doc;
    json::ondemand::object object;
    const bool read = (*parser).iterate(json::padded(body)).get(doc) == simdjson::SUCCESS &&
                      doc.get_object().get(object) == simdjson::SUCCESS &&
                      Walk(facts).members(object, false, 0);
    if (!read) {
        facts.remote_content = facts.hosted_tools = facts.audio = true;
    }
    return facts;
}

}  // namespace llmproxy::openai
