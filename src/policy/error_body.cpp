#include "error_body.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace llmproxy::policy {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDepth = 8;  // nothing of interest lies deeper

/// Knows the path of each value, lists left out of it: `/error/details` for what stands in that list.
class ErrorReader final : public nlohmann::json_sax<Json> {
public:
    explicit ErrorReader(ErrorBody& out) : out_(out) {}

    bool null() override { return true; }
    bool boolean(bool value) override
    {
        note_error(value);
        return true;
    }
    bool number_integer(number_integer_t) override
    {
        note_error(true);
        return true;
    }
    bool number_unsigned(number_unsigned_t number) override
    {
        note_error(true);
        if (places_a_name()) {
            note_status(number);
        }
        return true;
    }
    bool number_float(number_float_t, const string_t&) override
    {
        note_error(true);
        return true;
    }
    bool binary(binary_t&) override { return true; }

    bool string(string_t& text) override
    {
        note_error(!text.empty());
        if (at("") && (key_ == "object" || key_ == "type") &&
            (text == "error" || text == "response.failed")) {
            out_.is_error = true;
        } else if (places_a_name()) {
            note_name(text);
        } else if (in_error("/details") && key_ == "reason") {
            assign(out_.names[ErrorBody::reason], text);
        } else if (in_error("/details") && key_ == "retryDelay") {
            assign(out_.retry_delay, text);
        }
        return true;
    }

    bool start_object(std::size_t) override { return enter(); }
    bool end_object() override { return leave(); }
    bool start_array(std::size_t) override { return enter(); }
    bool end_array() override { return leave(); }
    bool key(string_t& text) override
    {
        key_.assign(text, 0, ErrorBody::kMaxName);
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const Json::exception&) override
    {
        return false;
    }

private:
    bool enter()
    {
        note_error(true);
        if (depth_++ < kMaxDepth) {
            outer_.push_back(path_.size());
            if (!key_.empty()) {
                path_ += '/';
                path_ += key_;
            }
        }
        key_.clear();
        return true;
    }

    bool leave()
    {
        if (--depth_ < kMaxDepth) {
            path_.resize(outer_.back());
            outer_.pop_back();
        }
        key_.clear();
        return true;
    }

    [[nodiscard]] bool at(std::string_view path) const noexcept
    {
        return depth_ <= kMaxDepth && path_ == path;
    }

    [[nodiscard]] bool in_error(std::string_view below) const noexcept
    {
        std::string_view path = path_;
        if (path.starts_with("/response/")) {
            path.remove_prefix(std::string_view("/response").size());
        }
        constexpr std::string_view kError = "/error";
        return depth_ <= kMaxDepth && path.starts_with(kError) &&
               path.substr(kError.size()) == below;
    }

    [[nodiscard]] bool places_a_name() const noexcept { return at("") || in_error(""); }

    void note_error(bool counts)
    {
        const bool here = key_ == "error" && (at("") || at("/response"));
        const bool azure = key_ == "statusCode" && at("");
        out_.is_error = out_.is_error || (counts && (here || azure));
    }

    void note_status(std::uint64_t number)
    {
        const bool names_one = key_ == "code" || key_ == "status" || key_ == "statusCode";
        if (names_one && number >= 400 && number < 600) {
            out_.status = static_cast<unsigned>(number);
        }
    }

    void note_name(const std::string& text)
    {
        unsigned number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error == std::errc() && end == text.data() + text.size()) {
            note_status(number);
        } else if (key_ == "code") {
            assign(out_.names[ErrorBody::code], text);
        } else if (key_ == "status") {
            assign(out_.names[ErrorBody::status_name], text);
        } else if (key_ == "type" || key_ == "__type") {
            assign(out_.names[ErrorBody::type], text);
        }
    }

    static void assign(std::string& target, const std::string& text)
    {
        target.assign(text, 0, ErrorBody::kMaxName);
        std::transform(target.begin(), target.end(), target.begin(), core::lower);
    }

    ErrorBody& out_;
    std::string path_;
    std::string key_;                 // of the value to come; empty in a list
    std::vector<std::size_t> outer_;  // the path's length before each open object or list
    std::size_t depth_ = 0;
};

}  // namespace

ErrorBody read_error_body(std::string_view json)
{
    ErrorBody body;
    ErrorReader reader(body);
    // False means that the text was cut off or is no JSON: what was read until there stays.
    static_cast<void>(Json::sax_parse(json.begin(), json.end(), &reader));
    return body;
}

}  // namespace llmproxy::policy
