#pragma once

#include "llmproxy/pipeline/gateway.hpp"

namespace llmproxy::pipeline {

/// Puts together what one configuration means for requests.
[[nodiscard]] std::shared_ptr<const Policies>
make_policies(Settings settings, policy::Settings rules,
              std::shared_ptr<const auth::Authenticator> authenticator,
              std::shared_ptr<const upstream::Backends> backends);

}  // namespace llmproxy::pipeline
