#include "paging.hpp"

namespace llmproxy::handlers::manage {

std::vector<Property> paged(std::vector<Property> parameters)
{
    parameters.push_back(field("limit", Kind::integer, "How many at most; 100 if not given.")
                             .between(1, kMostPerPage));
    parameters.push_back(field("after", Kind::text, "`next` of the page before.").between(1, 1000));
    return parameters;
}

Shape list_of(std::string_view name, const Shape& item)
{
    auto data = object("data", item, "").must().list(static_cast<std::size_t>(kMostPerPage));
    auto next = field("next", Kind::text, "`after` of the next page; null: this is the last.")
                    .must()
                    .or_null();
    return Shape{name, "A page of a list.", {std::move(data), std::move(next)}};
}

storage::PageRequest page_of(const Call& call, bool newest_first)
{
    storage::PageRequest page;
    page.limit = static_cast<std::uint32_t>(call.parameter<std::int64_t>("limit").value_or(100));
    page.cursor = call.parameter<std::string>("after").value_or("");
    page.newest_first = newest_first;
    return page;
}

core::Failure page_failure(core::Failure failure, const Call& call)
{
    const bool was_cursor =
        failure.errc() == core::Errc::bad_request && call.query.contains("after");
    return was_cursor ? bad_field("after", "`next` of a page of the same list") : failure;
}

}  // namespace llmproxy::handlers::manage
