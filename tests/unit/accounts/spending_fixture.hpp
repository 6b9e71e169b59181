#pragma once

#include "accounts_fixture.hpp"

#include <optional>
#include <utility>

namespace llmproxy::accounts::test {

/// A project `p` with a token `t`, and what its requests may use. Body 100 and output 50 cost 600 at most.
class SpendingFixture : public AccountsFixture {
protected:
    SpendingFixture() : project(add_project("p").id), token(make_token(project, "t")) {}

    /// A request that is admitted and has reserved, or an empty grant.
    Grant request(const RequestShape& wanted = shape(100, 50))
    {
        auto grant = admit(account_of(token));
        if (!grant || !reserve(*grant, wanted)) {
            return {};
        }
        return std::move(*grant);
    }

    const core::ProjectId project;
    Token token;
};

}  // namespace llmproxy::accounts::test
