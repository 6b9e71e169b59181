#pragma once

#include "llmproxy/pipeline/gateway.hpp"

namespace llmproxy::pipeline {

/// Puts together what one configuration means for requests.
/// \param accounts  where usage is recorded; null: nowhere.
/// \param provider_keys  of projects; null: they have none.
[[nodiscard]] std::shared_ptr<const Policies>
make_policies(Settings settings, policy::Settings rules,
              std::shared_ptr<const auth::Authenticator> authenticator,
              accounts::Accounts* accounts, accounts::ProviderKeys* provider_keys,
              std::shared_ptr<const upstream::Backends> backends);

}  // namespace llmproxy::pipeline
