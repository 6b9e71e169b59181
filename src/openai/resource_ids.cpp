#include "llmproxy/openai/resource_ids.hpp"

#include "json.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace llmproxy::openai {
namespace {

constexpr std::string_view kBase = "/v1/";
constexpr auto kNone = std::string_view::npos;

bool is_id_char(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == ':';
}

/// Words of paths have no digits, ids have.
bool looks_like_id(std::string_view text) noexcept
{
    return !text.empty() && text.size() <= IdScanner::kLongestId &&
           std::all_of(text.begin(), text.end(), is_id_char) &&
           text.find_first_of("0123456789") != kNone;
}

std::string_view first_segment(std::string_view& path) noexcept
{
    const auto end = path.find('/');
    const auto segment = path.substr(0, end);
    path = end == kNone ? std::string_view() : path.substr(end + 1);
    return segment;
}

/// The text that begins at `at` with its quote; moves behind it. Nothing if it is none or is cut off.
std::optional<std::string_view> take_text(std::string_view body, std::size_t& at) noexcept
{
    if (at >= body.size() || body[at] != '"') {
        return std::nullopt;
    }
    const auto end = body.find('"', at + 1);
    if (end == kNone) {
        return std::nullopt;
    }
    const auto text = body.substr(at + 1, end - at - 1);
    at = end + 1;
    return text;
}

/// The ids behind `"member":`: in a text, in the items of a list, or in an object's `id`.
void add_ids(std::string_view body, std::size_t at, std::vector<std::string_view>& into)
{
    // What is written with escapes is no id that was learnt, but may be one.
    const auto add = [&into](std::string_view text) {
        if (looks_like_id(text) || text.find('\\') != kNone) {
            into.push_back(text);
        }
    };
    if (body.substr(at).starts_with('{')) {
        const auto object = body.substr(at);
        add(json::string_member(object.substr(0, object.find('}')), "\"id\""));
        return;
    }
    if (!body.substr(at).starts_with('[')) {
        if (const auto text = take_text(body, at)) {
            add(*text);
        }
        return;
    }
    do {
        at = body.find_first_not_of(" \t\r\n", at + 1);
        const auto text = at == kNone ? std::nullopt : take_text(body, at);
        if (!text) {
            return;
        }
        add(*text);
        at = body.find_first_not_of(" \t\r\n", at);
    } while (at != kNone && body[at] == ',');
}

void add_named(std::span<const std::string_view> members, std::string_view body,
               std::vector<std::string_view>& into)
{
    for (const auto member : members) {
        for (auto at = json::find_member(body, member); at != kNone;
             at = json::find_member(body, member, at)) {
            add_ids(body, at, into);
        }
    }
}

}  // namespace

bool is_resource_path(std::string_view path) noexcept
{
    constexpr std::array<std::string_view, 11> kCollections{
        "files",      "uploads",     "batches", "vector_stores", "assistants", "threads",
        "containers", "fine_tuning", "evals",   "conversations", "videos"};
    if (!path.starts_with(kBase)) {
        return false;
    }
    auto rest = path.substr(kBase.size());
    const auto collection = first_segment(rest);
    if (collection == "chat") {
        return first_segment(rest) == "completions" && !rest.empty();
    }
    if (collection == "responses") {
        return !rest.empty();
    }
    return std::find(kCollections.begin(), kCollections.end(), collection) != kCollections.end();
}

std::vector<std::string_view> ids_in_path(std::string_view path)
{
    std::vector<std::string_view> ids;
    if (!is_resource_path(path)) {
        return ids;
    }
    auto rest = path.substr(kBase.size());
    first_segment(rest);
    while (!rest.empty()) {
        if (const auto segment = first_segment(rest); looks_like_id(segment)) {
            ids.push_back(segment);
        }
    }
    return ids;
}

bool tells_ids(std::string_view method, std::string_view path) noexcept
{
    if (method == "POST") {
        return is_resource_path(path);
    }
    // These end with files that nobody uploaded. What a client uploaded is not looked at: it could claim any id.
    return method == "GET" &&
           (path.starts_with("/v1/batches/") || path.starts_with("/v1/fine_tuning/jobs/"));
}

bool is_stored(Route route, std::string_view body) noexcept
{
    const bool by_default = route == Route::responses;
    if (!by_default && route != Route::chat_completions) {
        return false;
    }
    const auto at = json::find_member(body, "\"store\"");
    if (at == kNone) {
        return by_default;
    }
    return by_default ? !body.substr(at).starts_with("false") : body.substr(at).starts_with("true");
}

std::vector<std::string_view> ids_in_body(Route route, std::string_view body)
{
    static constexpr std::array<std::string_view, 5> kResponses{
        "\"previous_response_id\"", "\"conversation\"", "\"file_id\"", "\"vector_store_ids\"",
        "\"container\""};
    static constexpr std::array<std::string_view, 1> kChat{"\"file_id\""};
    static constexpr std::array<std::string_view, 7> kOther{
        "\"input_file_id\"", "\"file_id\"",          "\"file_ids\"",     "\"thread_id\"",
        "\"assistant_id\"",  "\"vector_store_ids\"", "\"training_file\""};
    std::vector<std::string_view> ids;
    switch (route) {
    case Route::responses: add_named(kResponses, body, ids); break;
    case Route::chat_completions: add_named(kChat, body, ids); break;
    case Route::other: add_named(kOther, body, ids); break;
    default: break;
    }
    return ids;
}

void IdScanner::feed(std::string_view piece)
{
    piece = piece.substr(0, left_);
    left_ -= piece.size();
    for (const char c : piece) {
        if (done_) {
            return;
        }
        if (!in_text_) {
            structural(c);
        } else if (escaped_) {
            escaped_ = false;
        } else if (c == '\\') {
            escaped_ = true;
            overlong_ = true;  // ids and the names looked for have no escapes
        } else if (c == '"') {
            end_text();
        } else if (text_.size() < kLongestId) {
            text_ += c;
        } else {
            overlong_ = true;
        }
    }
    done_ = done_ || left_ == 0;
}

void IdScanner::structural(char c)
{
    switch (c) {
    case '"':
        // Outside of any value a quote is part of a line that is no data.
        in_text_ = depth_ != 0;
        overlong_ = false;
        text_.clear();
        break;
    case '{': open(true); break;
    case '[': open(false); break;
    case '}':
    case ']': close(); break;
    case ',': key_next_ = in_object(); break;
    default: break;
    }
}

void IdScanner::open(bool object)
{
    constexpr std::size_t kDeepest = 64;
    if (++depth_ > kDeepest) {
        done_ = true;
        return;
    }
    objects_ = objects_ << 1 | (object ? 1U : 0U);
    key_next_ = object;
    inner_ = Key::other;
    if (depth_ == 1) {
        outer_ = Key::other;
    }
}

void IdScanner::close()
{
    if (depth_ != 0) {
        --depth_;
        objects_ >>= 1;
    }
    key_next_ = false;
}

void IdScanner::end_text()
{
    in_text_ = false;
    if (key_next_) {
        key_next_ = false;
        auto& key = depth_ == 1 ? outer_ : inner_;
        if (depth_ > 2) {
            return;
        }
        key = Key::other;
        if (overlong_) {
            return;
        }
        if (text_ == "id") {
            key = Key::id;
        } else if (depth_ == 1 && (text_ == "output_file_id" || text_ == "error_file_id" ||
                                   text_ == "thread_id")) {
            key = Key::id;
        } else if (depth_ == 1 && (text_ == "file" || text_ == "response")) {
            key = Key::holder;
        } else if (depth_ == 1 && text_ == "result_files") {
            key = Key::list;
        }
        return;
    }
    const bool wanted =
        (depth_ == 1 && in_object() && outer_ == Key::id) ||
        (depth_ == 2 && in_object() && outer_ == Key::holder && inner_ == Key::id) ||
        (depth_ == 2 && !in_object() && outer_ == Key::list);
    const bool known = std::find(found_.begin(), found_.end(), text_) != found_.end();
    if (wanted && !overlong_ && !known && looks_like_id(text_)) {
        found_.push_back(text_);
        done_ = found_.size() >= wanted_;
    }
}

std::vector<std::string> IdScanner::take()
{
    std::vector<std::string> fresh(found_.begin() + static_cast<std::ptrdiff_t>(taken_),
                                   found_.end());
    taken_ = found_.size();
    return fresh;
}

}  // namespace llmproxy::openai
