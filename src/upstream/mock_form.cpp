#include "mock_form.hpp"

#include "llmproxy/core/text.hpp"

#include "mock_text.hpp"

namespace llmproxy::upstream::mock {
namespace {

constexpr std::size_t kMaxPartHead = 8 * 1024;
constexpr std::size_t kMaxField = 64 * 1024;
constexpr std::size_t kMaxFields = 64;

/// A parameter of a field value such as `form-data; name="file"`; empty if it is absent.
std::string parameter(std::string_view value, std::string_view name)
{
    std::size_t at = 0;
    while ((at = value.find(';', at)) != std::string_view::npos) {
        auto item = core::trim(value.substr(++at));
        if (item.size() <= name.size() || !core::iequals(item.substr(0, name.size()), name) ||
            item[name.size()] != '=') {
            continue;
        }
        item.remove_prefix(name.size() + 1);
        if (item.empty() || item.front() != '"') {
            return std::string(core::trim(item.substr(0, item.find(';'))));
        }
        return std::string(item.substr(1, item.find('"', 1) - 1));
    }
    return {};
}

std::string_view disposition_of(std::string_view head)
{
    constexpr std::string_view kName = "content-disposition:";
    while (!head.empty()) {
        const auto end = head.find("\r\n");
        const auto line = head.substr(0, end);
        if (core::iequals(line.substr(0, kName.size()), kName)) {
            return core::trim(line.substr(kName.size()));
        }
        head = end == std::string_view::npos ? std::string_view() : head.substr(end + 2);
    }
    return {};
}

}  // namespace

Form::Form(std::string_view content_type) : state_(State::content), file_hash_(kHashSeed)
{
    constexpr std::string_view kType = "multipart/form-data";
    const auto boundary = parameter(content_type, "boundary");
    if (boundary.empty() || !core::iequals(content_type.substr(0, kType.size()), kType)) {
        state_ = State::failed;
        return;
    }
    delimiter_ = "\r\n--" + boundary;
    pending_ = "\r\n";  // so that a delimiter at the very front looks like the others
}

void Form::feed(std::string_view bytes)
{
    if (state_ == State::done || state_ == State::failed) {
        return;
    }
    pending_ += bytes;
    while (step()) {}
}

std::string_view Form::field(const std::string& name) const
{
    const auto found = fields_.find(name);
    return found == fields_.end() ? std::string_view() : std::string_view(found->second);
}

/// Makes one step of progress; false when more bytes are needed or nothing can follow.
bool Form::step()
{
    switch (state_) {
    case State::content: {
        const auto end = pending_.find(delimiter_);
        if (end == std::string::npos) {
            if (pending_.size() >= delimiter_.size()) {
                const auto sure = pending_.size() - delimiter_.size() + 1;
                take(std::string_view(pending_).substr(0, sure));
                pending_.erase(0, sure);
            }
            return false;
        }
        take(std::string_view(pending_).substr(0, end));
        pending_.erase(0, end + delimiter_.size());
        if (state_ == State::content) {
            state_ = State::after_delimiter;
        }
        return state_ == State::after_delimiter;
    }
    case State::after_delimiter:
        if (pending_.size() < 2) {
            return false;
        }
        state_ = pending_.starts_with("--")     ? State::done
                 : pending_.starts_with("\r\n") ? State::head
                                                : State::failed;
        return state_ == State::head;  // its CRLF stays, so that an empty head ends like any other
    case State::head: {
        const auto end = pending_.find("\r\n\r\n");
        if (end > kMaxPartHead && pending_.size() > kMaxPartHead) {
            state_ = State::failed;
            return false;
        }
        if (end == std::string::npos) {
            return false;
        }
        start_part(std::string_view(pending_).substr(0, end));
        pending_.erase(0, end + 4);
        return state_ == State::content;
    }
    case State::done:
    case State::failed: break;
    }
    return false;
}

void Form::start_part(std::string_view head)
{
    state_ = State::content;
    const auto disposition = disposition_of(head);
    field_name_ = parameter(disposition, "name");
    auto file_name = parameter(disposition, "filename");
    in_file_ = !file_name.empty();
    if (in_file_) {
        has_file_ = true;
        file_name_ = std::move(file_name);
    } else if (field_name_.empty() || fields_.size() >= kMaxFields) {
        state_ = State::failed;
    } else {
        fields_[field_name_].clear();
    }
}

void Form::take(std::string_view content)
{
    if (in_file_) {
        file_bytes_ += content.size();
        file_hash_ = hash(content, file_hash_);
        return;
    }
    if (field_name_.empty()) {
        return;  // the preamble
    }
    auto& value = fields_[field_name_];
    if (value.size() + content.size() > kMaxField) {
        state_ = State::failed;
        return;
    }
    value += content;
}

}  // namespace llmproxy::upstream::mock
