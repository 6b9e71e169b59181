#pragma once

#include "llmproxy/accounts/settings.hpp"
#include "llmproxy/auth/settings.hpp"
#include "llmproxy/edge/settings.hpp"
#include "llmproxy/handlers/settings.hpp"
#include "llmproxy/otlp/settings.hpp"
#include "llmproxy/pipeline/settings.hpp"
#include "llmproxy/policy/settings.hpp"
#include "llmproxy/storage/settings.hpp"
#include "llmproxy/telemetry/settings.hpp"
#include "llmproxy/upstream/settings.hpp"

#include <map>
#include <string>
#include <vector>

namespace llmproxy::config {

/// Where a key stands in a file. Lines and columns count from 1; 0: in none.
struct Mark {
    int line = 0;
    int column = 0;
    std::string file{};  ///< empty: the configuration file
};

/// The whole configuration, validated. Made by `load`, never changed afterwards: shared by pointer to const.
struct Snapshot {
    edge::Settings server;
    pipeline::Settings pipeline;
    upstream::Settings upstream;
    handlers::ForwardSettings forward;
    policy::Settings policy;
    auth::Settings auth;
    accounts::Settings accounts;
    storage::Settings store;
    handlers::ManagementSettings management;
    telemetry::Settings logging;
    telemetry::MetricsSettings metrics;
    telemetry::DetailSettings detail;
    otlp::Settings tracing;

    std::string file;                   ///< where it came from
    std::string prices_file;            ///< where some of `accounts.prices` came from
    std::vector<std::string> warnings;  ///< things accepted but worth a log line
    std::map<std::string, Mark>
        marks;  ///< places of the keys given, e.g. of `backends[0].base_url`
};

}  // namespace llmproxy::config
