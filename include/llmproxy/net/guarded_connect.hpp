#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <optional>
#include <string>

namespace llmproxy::net {

/// Runs `dialling`, which has a deadline of its own, for a session, and cancels it as soon as the watchdog ends its waits.
///
/// Runs on the watchdog's strand. Whether a client that leaves is looked for is the caller's choice
/// (`Watchdog::watch_client`). The watchdog has no deadline of its own meanwhile or afterwards.
/// Fails like `dialling`, and with Errc::client_gone, or Errc::cancelled after `Watchdog::stop`.
core::Task<core::Result<Stream>> connect_while_wanted(core::Task<core::Result<Stream>> dialling,
                                                      Watchdog& watchdog);

/// `Resolver::resolve` in the same way; what is known already costs no wait.
core::Task<core::Result<Resolver::Endpoints>>
resolve_while_wanted(Resolver& resolver, std::string host, std::uint16_t port,
                     core::Deadline deadline, Watchdog& watchdog);

/// The failure of a wait that the watchdog ended: Errc::client_gone or Errc::cancelled; nothing if it did not.
[[nodiscard]] std::optional<core::Failure> why_ended(const Watchdog& watchdog);

}  // namespace llmproxy::net
