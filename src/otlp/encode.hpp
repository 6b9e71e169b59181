#pragma once

#include "llmproxy/telemetry/access_record.hpp"

#include <span>
#include <string>

namespace llmproxy::otlp {

/// What all spans have in common.
struct Resource {
    std::string service_name;
    std::string version;
    std::string instance;
};

/// An ExportTraceServiceRequest with the spans of these requests, in OTLP's JSON encoding. Each record has a trace.
[[nodiscard]] std::string encode(std::span<const telemetry::AccessRecord> records,
                                 const Resource& resource);

}  // namespace llmproxy::otlp
