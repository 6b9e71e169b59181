#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/watchdog.hpp"
#include "llmproxy/policy/admission_gate.hpp"

namespace llmproxy::upstream {

/// A slot of `gate`, waiting in its queue at most until `deadline`.
///
/// Runs on the session's strand, the watchdog's; the wait ends when the client leaves.
/// Fails with Errc::overloaded (queue full or deadline passed), Errc::client_gone or Errc::cancelled.
core::Task<core::Result<policy::AdmissionGate::Permit>>
wait_for_slot(policy::AdmissionGate& gate, core::Deadline deadline, net::Watchdog& watchdog);

}  // namespace llmproxy::upstream
