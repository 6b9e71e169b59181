#pragma once

#include <string>

namespace llmproxy::net {

/// The certificate a listener shows, and whose client certificates it accepts. Paths of PEM files.
struct ServerTlsSettings {
    std::string certificate;
    std::string key;
    std::string client_ca;  ///< when set, clients must show a certificate of this CA
    bool allow_plain =
        false;  ///< speak plain HTTP too on this port: a first byte of 0x16 means TLS

    friend bool operator==(const ServerTlsSettings&, const ServerTlsSettings&) = default;
};

/// How the other side of an outgoing TLS connection is verified. Paths of PEM files.
struct ClientTlsSettings {
    std::string ca;           ///< besides nothing: replaces the system's CAs when set
    std::string certificate;  ///< our own, when the other side asks for one
    std::string key;
    bool insecure_skip_verify = false;

    friend bool operator==(const ClientTlsSettings&, const ClientTlsSettings&) = default;
};

}  // namespace llmproxy::net
