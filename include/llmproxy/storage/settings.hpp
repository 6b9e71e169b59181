#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/secret.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace llmproxy::storage {

/// What a commit survives. `process`: the end of this process, however sudden; `power`: also that
/// of the machine.
enum class Durability : std::uint8_t { process, power };

/// `store:`.
struct Settings {
    std::string path;  ///< of the database; empty: no store
    Durability durability = Durability::process;
    core::Secret encryption_key;  ///< seals provider keys; core::decode_key reads it
    std::vector<core::Secret> old_encryption_keys;           ///< only open what they sealed
    core::Duration retention = std::chrono::hours(24 * 90);  ///< of usage rows; zero: for ever
    core::Duration rollup_retention =
        std::chrono::hours(24 * 400);  ///< of hourly sums; zero: for ever
};

}  // namespace llmproxy::storage
