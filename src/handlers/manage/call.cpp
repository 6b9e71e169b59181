#include "call.hpp"

#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>

namespace llmproxy::handlers::manage {

Precondition Precondition::parse(std::string_view value)
{
    Precondition made;
    made.given_ = !core::trim(value).empty();
    core::for_each_item(value, [&made](std::string_view tag) {
        made.any_ = made.any_ || tag == "*";
        if (tag.size() > 2 && tag.front() == '"' && tag.back() == '"') {
            const auto number = core::parse_number<storage::Version>(tag.substr(1, tag.size() - 2));
            if (number) {
                made.versions_.push_back(*number);
            }
        }
    });
    return made;
}

bool Precondition::allows(storage::Version version) const noexcept
{
    return !given_ || any_ ||
           std::find(versions_.begin(), versions_.end(), version) != versions_.end();
}

core::Result<void> Precondition::check(storage::Version version) const
{
    if (allows(version)) {
        return {};
    }
    return core::Failure(core::Errc::precondition_failed, core::Origin::client);
}

std::string etag(storage::Version version)
{
    return "ETag: \"" + std::to_string(version) + "\"\r\n";
}

}  // namespace llmproxy::handlers::manage
