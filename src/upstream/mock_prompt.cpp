#include "mock_prompt.hpp"

#include "mock_text.hpp"

namespace llmproxy::upstream::mock {
namespace {

constexpr std::size_t kMaxEcho = 4096;

}  // namespace

void append_text(std::string& out, const Json& content)
{
    if (content.is_string()) {
        out += text_of(content);
    } else if (content.is_array()) {
        for (const auto& part : content) {
            out += part.is_string() ? text_of(part) : text_of(member(part, "text"));
        }
    }
}

std::uint64_t bytes_of_messages(const Json& messages)
{
    std::string all;
    for (const auto& message : messages) {
        append_text(all, member(message, "content"));
    }
    return all.size();
}

std::string last_user_text(const Json& messages)
{
    std::string text;
    for (auto message = messages.rbegin(); message != messages.rend(); ++message) {
        if (text_of(member(*message, "role")) == "user") {
            append_text(text, member(*message, "content"));
            break;
        }
    }
    return text;
}

std::string reply_text(std::string_view said, const Knobs& knobs)
{
    if (knobs.bytes) {
        return filler(static_cast<std::size_t>(*knobs.bytes));
    }
    std::string once = "You said: ";
    once += clip(said, kMaxEcho);
    const auto length = characters(once);
    std::string text = once;
    for (auto have = length; have < knobs.chunks; have += length + 1) {
        text += ' ';
        text += once;
    }
    return text;
}

}  // namespace llmproxy::upstream::mock
