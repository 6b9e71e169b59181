#pragma once

#include <boost/asio/awaitable.hpp>

namespace llmproxy::core {

/// The coroutine type of this program. A function that can suspend returns it.
/// Runs on the executor of whoever awaits it; a session's is its strand.
template <typename T>
using Task = boost::asio::awaitable<T>;

}  // namespace llmproxy::core
