#pragma once

#include "json.hpp"

#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/handlers/manage.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::handlers::manage {

/// `If-Match` (RFC 9110, section 13.1.1): which versions of a thing a change may begin from.
class Precondition {
public:
    Precondition() = default;
    /// Reads the field's value. Entity tags of any other making, weak ones too, match nothing.
    [[nodiscard]] static Precondition parse(std::string_view value);

    [[nodiscard]] bool given() const noexcept { return given_; }
    /// Nothing given matches everything.
    [[nodiscard]] bool allows(storage::Version version) const noexcept;
    /// Fails with Errc::precondition_failed.
    [[nodiscard]] core::Result<void> check(storage::Version version) const;

private:
    bool given_ = false;
    bool any_ = false;
    std::vector<storage::Version> versions_;
};

/// Who calls.
struct Actor {
    std::string name;    ///< of the token
    std::string source;  ///< address
    ManagementRole role = ManagementRole::viewer;
};

/// A request that passed all checks that its route tells: a route's function gets nothing else.
struct Call {
    std::string_view route_path;    ///< of the table
    std::vector<std::string> path;  ///< values of the path's parameters, in order
    Json query = Json::object();    ///< as the route's parameters say
    Json body;                      ///< as the route's request shape says
    Precondition if_match;
    Actor actor;
    core::SystemTime now;
    std::string request_id;

    /// A parameter of the query, if given.
    template <typename T>
    [[nodiscard]] std::optional<T> parameter(std::string_view name) const
    {
        const auto found = query.find(name);
        return found == query.end() ? std::nullopt : std::optional<T>(found->template get<T>());
    }
};

/// A body that is made piece by piece.
class BodySource {
public:
    virtual ~BodySource() = default;
    /// The next piece, not empty; nothing at the end.
    /// \param watchdog  of the session: what waits here ends with it, and when the client leaves.
    virtual core::Task<core::Result<std::string>> next(net::Watchdog& watchdog) = 0;
};

struct Reply {
    unsigned status = 200;
    Json body;                           ///< null: none
    std::string fields;                  ///< further complete field lines
    std::unique_ptr<BodySource> stream;  ///< in place of `body`, with its own Content-Type field

    Reply() = default;
    explicit Reply(Json content, unsigned code = 200) : status(code), body(std::move(content)) {}
};

/// The field line of an entity tag.
[[nodiscard]] std::string etag(storage::Version version);

using Answer = core::Task<core::Result<Reply>> (*)(ManageParts& parts, Call& call);

}  // namespace llmproxy::handlers::manage
