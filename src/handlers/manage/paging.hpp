#pragma once

#include "call.hpp"
#include "shape.hpp"

#include <utility>

namespace llmproxy::handlers::manage {

inline constexpr std::int64_t kMostPerPage = 1000;

/// The parameters `limit` and `after`, to be put behind those of a list's own.
[[nodiscard]] std::vector<Property> paged(std::vector<Property> parameters = {});

/// The shape of a list: `data` and `next`.
[[nodiscard]] Shape list_of(std::string_view name, const Shape& item);

[[nodiscard]] storage::PageRequest page_of(const Call& call, bool newest_first = false);

/// What a failed read of a page is for the caller: a bad cursor is named.
[[nodiscard]] core::Failure page_failure(core::Failure failure, const Call& call);

/// The answer with a page's rows, each as `show` makes it.
template <typename Row, typename Show>
[[nodiscard]] Reply page_reply(const storage::Page<Row>& page, Show&& show)
{
    auto data = Json::array();
    for (const auto& row : page.rows) {
        data.push_back(show(row));
    }
    Json body = Json::object();
    body["data"] = std::move(data);
    body["next"] = page.next.empty() ? Json(nullptr) : Json(page.next);
    return Reply(std::move(body));
}

}  // namespace llmproxy::handlers::manage
