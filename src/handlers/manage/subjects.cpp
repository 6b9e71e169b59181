#include "subjects.hpp"

#include "projects.hpp"

namespace llmproxy::handlers::manage {

core::Task<core::Result<SubjectAt>> find_subject(ManageParts& parts, const Call& call)
{
    SubjectAt found;
    if (call.route_path.starts_with("/manage/tokens/")) {
        auto token = co_await find_token(parts, call.path[0]);
        if (!token) {
            co_return token.error();
        }
        found.subject = token->id;
        found.version = token->version;
        co_return found;
    }
    auto project = co_await find_project(parts, call.path[0]);
    if (!project) {
        co_return project.error();
    }
    found.subject = project->id;
    found.version = project->version;
    co_return found;
}

std::string_view kind_of(storage::Subject subject) noexcept
{
    return subject.kind == storage::SubjectKind::project ? "project" : "token";
}

std::string_view word_of(storage::PeriodKind kind)
{
    return kPeriodWords.at(static_cast<std::size_t>(kind) - 1);
}

}  // namespace llmproxy::handlers::manage
