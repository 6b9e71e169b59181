#include "json.hpp"

#include <set>
#include <vector>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

/// Looks at a text's events for what a tree would not show any more. Stops at the first fault.
class Examiner {
public:
    bool null() { return true; }
    bool boolean(bool) { return true; }
    bool number_integer(Json::number_integer_t) { return true; }
    bool number_unsigned(Json::number_unsigned_t) { return true; }
    bool number_float(Json::number_float_t, const std::string&) { return true; }
    bool string(std::string&) { return true; }
    bool binary(Json::binary_t&) { return true; }
    bool start_object(std::size_t) { return deeper(); }
    bool end_object() { return shallower(); }
    bool start_array(std::size_t) { return deeper(); }
    bool end_array() { return shallower(); }
    bool key(std::string& name)
    {
        if (open_.back().insert(name).second) {
            return true;
        }
        fault_.say("The key '" + name + "' stands twice in one object.").at(name);
        return false;
    }
    bool parse_error(std::size_t position, const std::string&, const Json::exception&)
    {
        refuse(position);
        return false;
    }
    void refuse(std::size_t position)
    {
        fault_.say("The body is not valid JSON in UTF-8 (at byte " + std::to_string(position) +
                   ").");
    }
    [[nodiscard]] const Failure& fault() const noexcept { return fault_; }

private:
    bool deeper()
    {
        open_.emplace_back();
        if (open_.size() <= kMaxDepth) {
            return true;
        }
        fault_.say("The body is nested too deep.");
        return false;
    }
    bool shallower()
    {
        open_.pop_back();
        return true;
    }

    std::vector<std::set<std::string>> open_;  // keys of each object around; of arrays none
    Failure fault_{Errc::bad_request, Origin::client, "refused JSON"};
};

}  // namespace

core::Failure bad_field(const std::string& param, std::string_view expected)
{
    Failure failure(Errc::bad_request, Origin::client, "field " + param);
    failure.say("'" + param + "' must be " + std::string(expected) + ".").at(param);
    return failure;
}

core::Result<Json> parse_json(std::string_view text)
{
    Examiner examiner;
    if (const auto end = text.find('\0'); end != std::string_view::npos) {
        // The parser would take it for the end of the text.
        examiner.refuse(end + 1);
        return examiner.fault();
    }
    if (!Json::sax_parse(text, &examiner)) {
        return examiner.fault();
    }
    return Json::parse(text);
}

std::string to_text(const Json& value)
{
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace llmproxy::handlers::manage
