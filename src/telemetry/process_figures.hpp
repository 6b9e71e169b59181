#pragma once

#include "series_store.hpp"

namespace llmproxy::telemetry {

/// Shows what the kernel says of this process (proc(5)). What cannot be read is left out.
void show_process(SeriesStore& store);

}  // namespace llmproxy::telemetry
