#pragma once

#include "llmproxy/accounts/account.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace llmproxy::accounts::test {

/// A token of a project as the store tells of them.
inline storage::TokenAccess access(std::int64_t token, std::int64_t project)
{
    storage::TokenAccess row;
    row.token.id = core::TokenId{token};
    row.token.version = 1;
    row.token.project = core::ProjectId{project};
    row.token.name = "token " + std::to_string(token);
    row.project.id = core::ProjectId{project};
    row.project.version = 1;
    row.project.name = "project " + std::to_string(project);
    return row;
}

/// An account of it, with standings of its own.
inline std::shared_ptr<const Account> account(const storage::TokenAccess& row,
                                              Generation loaded = 1)
{
    return std::make_shared<const Account>(row, loaded, std::make_shared<Standing>(row.token.id),
                                           std::make_shared<Standing>(row.project.id));
}

inline std::shared_ptr<const Account> account(std::int64_t token, std::int64_t project = 1)
{
    return account(access(token, project));
}

}  // namespace llmproxy::accounts::test
