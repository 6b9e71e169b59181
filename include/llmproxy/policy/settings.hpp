#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llmproxy::policy {

/// What of `forward:` decides where clients may go.
struct DestinationSettings {
    std::vector<std::string> allow;          ///< core::HostPattern texts; empty: nothing
    std::vector<std::string> allow_private;  ///< CIDRs
    std::vector<std::uint16_t> connect_ports{443};
    std::vector<std::uint16_t> http_ports{80};
};

}  // namespace llmproxy::policy
