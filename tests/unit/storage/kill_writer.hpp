#pragma once

#include <string>

namespace llmproxy::storage::test {

/// The argument that makes the test program the process that is killed.
inline constexpr const char* kKillWriter = "--kill-writer";

/// Reserves, settles, cancels and drops until it is killed, and says on stdout what it does, one
/// line each: `P id cost tokens` before a reservation, `R id` after it, `S id cost` before a
/// settlement, `A id` once that is durable, `C id` before a cancellation.
/// \return exit code, if something fails
int run_kill_writer(const std::string& path, const std::string& durability, unsigned seed);

}  // namespace llmproxy::storage::test
