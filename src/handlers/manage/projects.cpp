#include "projects.hpp"

#include "audit.hpp"
#include "grants.hpp"
#include "ids.hpp"
#include "llmproxy/core/time_text.hpp"
#include "paging.hpp"
#include "route.hpp"

#include <iterator>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using storage::ProjectRow;

std::vector<Property> joined(std::vector<Property> first, std::vector<Property> second)
{
    std::move(second.begin(), second.end(), std::back_inserter(first));
    return first;
}

Property enabled_field()
{
    return field("enabled", Kind::boolean, "Whether its tokens are accepted.");
}

const Shape& project_shape()
{
    static const Shape shape{
        "Project", "Who owns tokens, limits and budgets.",
        joined(joined({project_field("id", "").must(), field("name", Kind::text, "Unique.").must(),
                       enabled_field().must()},
                      shown_grant_fields()),
               {field("created_at", Kind::time, "").must(),
                field("updated_at", Kind::time, "").must(),
                field("version", Kind::integer, "The number in its ETag.").must()})};
    return shape;
}

const Shape& project_list()
{
    static const auto shape = list_of("ProjectList", project_shape());
    return shape;
}

const Shape& create_shape()
{
    static const Shape shape{
        "ProjectCreate", "A new project.",
        joined({name_field("name", "Unique.").must(), enabled_field()}, grant_fields())};
    return shape;
}

const Shape& update_shape()
{
    static const Shape shape{
        "ProjectUpdate", "What is to change; the rest stays.",
        joined({name_field("name", "Unique."), enabled_field()}, grant_fields())};
    return shape;
}

Json show(const ProjectRow& row)
{
    Json shown = Json::object();
    shown["id"] = to_text(row.id);
    shown["name"] = row.name;
    shown["enabled"] = row.enabled;
    put_grants(shown, row.grants);
    shown["created_at"] = core::to_text(row.created);
    shown["updated_at"] = core::to_text(row.updated);
    shown["version"] = row.version;
    return shown;
}

/// What the audit log keeps.
Json brief(const ProjectRow& row)
{
    auto shown = show(row);
    for (const auto* name : {"id", "created_at", "updated_at", "version"}) {
        shown.erase(name);
    }
    return shown;
}

void read_project(const Json& body, ProjectRow& row)
{
    row.name = body.value("name", row.name);
    row.enabled = body.value("enabled", row.enabled);
    read_grants(body, row.grants);
}

Reply answer(const ProjectRow& row, unsigned status = 200)
{
    Reply reply(show(row), status);
    reply.fields = etag(row.version);
    return reply;
}

core::Task<core::Result<Reply>> list_projects(ManageParts& parts, Call& call)
{
    if (auto name = call.parameter<std::string>("name")) {
        auto row = co_await parts.store->project_named(std::move(*name));
        if (!row) {
            co_return row.error();
        }
        storage::Page<ProjectRow> page;
        if (*row) {
            page.rows.push_back(std::move(**row));
        }
        co_return page_reply(page, show);
    }
    auto page = co_await parts.store->projects(page_of(call));
    if (!page) {
        co_return page_failure(page.error(), call);
    }
    co_return page_reply(*page, show);
}

core::Task<core::Result<Reply>> create_project(ManageParts& parts, Call& call)
{
    ProjectRow row;
    row.created = row.updated = call.now;
    read_project(call.body, row);
    auto audit = audit_row(call, "project.create", "project", "", nullptr, brief(row));
    auto made = co_await parts.store->put_project(std::move(row), std::move(audit));
    if (!made) {
        co_return change_failure(made.error());
    }
    auto reply = answer(*made, 201);
    http::append_field(reply.fields, "Location", "/manage/projects/" + to_text(made->id));
    co_return reply;
}

core::Task<core::Result<Reply>> get_project(ManageParts& parts, Call& call)
{
    auto row = co_await find_project(parts, call.path[0]);
    if (!row) {
        co_return row.error();
    }
    co_return answer(*row);
}

core::Task<core::Result<Reply>> update_project(ManageParts& parts, Call& call)
{
    auto found = co_await find_project(parts, call.path[0]);
    if (!found) {
        co_return found.error();
    }
    const auto allowed = call.if_match.check(found->version);
    if (!allowed) {
        co_return allowed.error();
    }
    auto row = std::move(*found);
    const auto before = brief(row);
    read_project(call.body, row);
    row.updated = call.now;
    auto audit = audit_row(call, "project.update", "project",
                           std::to_string(static_cast<std::int64_t>(row.id)), before, brief(row));
    auto changed = co_await parts.store->put_project(std::move(row), std::move(audit));
    if (!changed) {
        co_return change_failure(changed.error());
    }
    announce(parts, changed->id, changed->enabled);
    co_return answer(*changed);
}

core::Task<core::Result<Reply>> delete_project(ManageParts& parts, Call& call)
{
    Reply gone;
    gone.status = 204;
    auto row = co_await find_project(parts, call.path[0]);
    if (!row) {
        if (row.error().errc() == Errc::not_found) {
            co_return gone;
        }
        co_return row.error();
    }
    const auto allowed = call.if_match.check(row->version);
    if (!allowed) {
        co_return allowed.error();
    }
    const auto id = row->id;
    auto audit = audit_row(call, "project.delete", "project",
                           std::to_string(static_cast<std::int64_t>(id)), brief(*row), nullptr);
    auto removed = co_await parts.store->remove_project(id, std::move(audit));
    if (!removed) {
        co_return removed.error();
    }
    announce(parts, id, false);
    co_return gone;
}

}  // namespace

core::Task<core::Result<ProjectRow>> find_project(ManageParts& parts, std::string id)
{
    const auto parsed = parse_project(id);
    Failure missing(Errc::not_found, Origin::client, "no such project");
    missing.say("There is no such project.");
    if (!parsed) {
        co_return missing;
    }
    auto row = co_await parts.store->project(*parsed);
    if (!row) {
        co_return row.error();
    }
    if (!*row) {
        co_return missing;
    }
    co_return std::move(**row);
}

core::Failure change_failure(core::Failure failure)
{
    if (failure.errc() == Errc::conflict) {
        failure.say("There is one with this " +
                    (failure.param().empty() ? "name" : failure.param()) + " already.");
    } else if (failure.errc() == Errc::not_found && !failure.param().empty()) {
        return bad_field(failure.param(), "the id of a " + failure.param() + " that exists");
    } else if (failure.errc() == Errc::not_found) {
        failure.say("It was deleted in the meantime.");
    }
    return failure;
}

void announce(const ManageParts& parts, storage::Subject subject, bool usable)
{
    const auto& told = usable ? parts.changed : parts.ended;
    if (told) {
        told(subject);
    }
}

void add_project_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::get, "/manage/projects", "listProjects", "projects",
                          "All projects, the oldest first.", list_projects)
                        .gives(project_list())
                        .with(paged({name_field("name", "The one of this name, or none.")})));
    table.push_back(route(http::Verb::post, "/manage/projects", "createProject", "projects",
                          "Make a project.", create_project)
                        .takes(create_shape())
                        .gives(project_shape(), 201)
                        .tagged()
                        .conflicting());
    table.push_back(route(http::Verb::get, "/manage/projects/{project}", "getProject", "projects",
                          "One project.", get_project)
                        .gives(project_shape())
                        .tagged());
    table.push_back(route(http::Verb::patch, "/manage/projects/{project}", "updateProject",
                          "projects", "Change a project; takes effect at once.", update_project)
                        .takes(update_shape())
                        .gives(project_shape())
                        .tagged()
                        .if_match()
                        .conflicting());
    auto remove =
        route(http::Verb::delete_, "/manage/projects/{project}", "deleteProject", "projects",
              "Delete a project with its tokens, keys, limits and budgets; its usage "
              "stays.",
              delete_project);
    remove.status = 204;
    table.push_back(std::move(remove));
}

}  // namespace llmproxy::handlers::manage
