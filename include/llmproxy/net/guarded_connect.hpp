#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"

namespace llmproxy::net {

/// Runs `dialling`, which has a deadline of its own, for a session, and cancels it as soon as the watchdog ends its waits.
///
/// Runs on the watchdog's strand. Whether a client that leaves is looked for is the caller's choice
/// (`Watchdog::watch_client`). The watchdog has no deadline of its own meanwhile or afterwards.
/// Fails like `dialling`, and with Errc::client_gone, or Errc::cancelled after `Watchdog::stop`.
core::Task<core::Result<Stream>> connect_while_wanted(core::Task<core::Result<Stream>> dialling,
                                                      Watchdog& watchdog);

}  // namespace llmproxy::net
