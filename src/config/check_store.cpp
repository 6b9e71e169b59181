#include "findings.hpp"

namespace llmproxy::config {

void check_store(Snapshot& snapshot, Findings& findings)
{
    const auto& store = snapshot.store;
    const bool in_file = findings.given("store.encryption_key_file");
    const auto* const key = in_file ? "store.encryption_key_file" : "store.encryption_key";
    if (in_file && findings.given("store.encryption_key")) {
        findings.refuse(key, "only one of encryption_key and encryption_key_file");
    } else if (!store.encryption_key.empty() && !core::decode_key(store.encryption_key.reveal())) {
        findings.refuse(key, "32 bytes as 64 hexadecimal digits or in base64");
    }
    for (std::size_t i = 0; i < store.old_encryption_keys.size(); ++i) {
        if (!core::decode_key(store.old_encryption_keys[i].reveal())) {
            findings.refuse("store.old_encryption_keys[" + std::to_string(i) + "]",
                            "32 bytes as 64 hexadecimal digits or in base64");
        }
    }
    if (store.path.empty() && findings.given("store")) {
        findings.warn("store.path", "is empty: there is no store");
    }
}

}  // namespace llmproxy::config
