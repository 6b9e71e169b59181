#include "llmproxy/accounts/key_vault.hpp"

#include "llmproxy/core/sha256.hpp"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace llmproxy::accounts {
namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kLongestKey = std::size_t{64} * 1024;
constexpr std::size_t kHintLength = 4;
constexpr std::size_t kShortestWithHint = 16;
// A text short enough to be kept inside std::string would leave a copy behind when it is moved.
constexpr std::size_t kNeverInside = 64;

struct FreeContext {
    void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

unsigned char* data_of(std::string& bytes) noexcept
{
    return reinterpret_cast<unsigned char*>(bytes.data());
}

const unsigned char* data_of(std::string_view bytes) noexcept
{
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

void append_big_endian(std::string& out, std::uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8) {
        out += static_cast<char>(value >> static_cast<unsigned>(shift));
    }
}

/// What is authenticated beside the key, each part with its length.
std::string identity_of(const storage::ProviderKeyRow& row)
{
    std::string identity = "llm-proxy provider key 1";
    append_big_endian(identity, static_cast<std::uint64_t>(row.project));
    for (const auto* part : {&row.backend, &row.name, &row.master_key}) {
        append_big_endian(identity, part->size());
        identity += *part;
    }
    return identity;
}

core::Failure failed(std::string detail)
{
    ERR_clear_error();
    return {core::Errc::internal, core::Origin::self, std::move(detail)};
}

int size_of(std::string_view bytes) noexcept
{
    return static_cast<int>(bytes.size());
}

}  // namespace

std::string KeyVault::name_of(const core::Secret& master_key)
{
    std::string labelled = "llm-proxy master key 1:";
    labelled.reserve(kNeverInside + kKeyBytes);
    labelled += master_key.reveal();
    const auto digest = core::sha256(labelled);
    OPENSSL_cleanse(labelled.data(), labelled.size());
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string name;
    for (std::size_t i = 0; i < 8; ++i) {
        name += kHex[digest[i] >> 4U];
        name += kHex[digest[i] & 15U];
    }
    return name;
}

core::Result<KeyVault> KeyVault::make(core::Secret current, std::vector<core::Secret> older)
{
    std::vector<Master> masters;
    older.insert(older.begin(), std::move(current));
    for (auto& key : older) {
        if (key.reveal().size() != kKeyBytes) {
            return core::Failure(core::Errc::bad_request, core::Origin::self,
                                 "a master key has 32 bytes");
        }
        auto name = name_of(key);
        masters.push_back({std::move(key), std::move(name)});
    }
    return KeyVault(std::move(masters));
}

core::Result<void> KeyVault::seal(storage::ProviderKeyRow& row, const core::Secret& key) const
{
    const auto& text = key.reveal();
    if (text.empty() || text.size() > kLongestKey) {
        return core::Failure(core::Errc::bad_request, core::Origin::client,
                             "an empty or overlong key")
            .say("A provider key has 1 to 65536 bytes.")
            .at("key");
    }
    const auto& master = masters_.front();
    row.master_key = master.name;
    const auto identity = identity_of(row);
    std::string sealed(kNonceBytes + text.size() + kTagBytes, '\0');
    auto* const nonce = data_of(sealed);
    auto* const body = nonce + kNonceBytes;
    int length = 0;
    int tail = 0;
    const Context context(EVP_CIPHER_CTX_new());
    const bool done =
        context && RAND_bytes(nonce, kNonceBytes) == 1 &&
        EVP_EncryptInit_ex2(context.get(), EVP_aes_256_gcm(), data_of(master.key.reveal()), nonce,
                            nullptr) == 1 &&
        EVP_EncryptUpdate(context.get(), nullptr, &length, data_of(identity), size_of(identity)) ==
            1 &&
        EVP_EncryptUpdate(context.get(), body, &length, data_of(text), size_of(text)) == 1 &&
        EVP_EncryptFinal_ex(context.get(), body + length, &tail) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, body + text.size()) ==
            1;
    if (!done) {
        return failed("sealing a provider key failed");
    }
    row.sealed = std::move(sealed);
    row.hint =
        text.size() < kShortestWithHint ? std::string() : text.substr(text.size() - kHintLength);
    return {};
}

core::Result<core::Secret> KeyVault::open(const storage::ProviderKeyRow& row) const
{
    const auto master = std::find_if(masters_.begin(), masters_.end(),
                                     [&](const Master& one) { return one.name == row.master_key; });
    if (master == masters_.end()) {
        return failed("provider key " + std::to_string(row.id) + " is sealed with master key " +
                      row.master_key + ", which is not here");
    }
    if (row.sealed.size() <= kNonceBytes + kTagBytes ||
        row.sealed.size() > kNonceBytes + kLongestKey + kTagBytes) {
        return failed("provider key " + std::to_string(row.id) + " is damaged");
    }
    const std::string_view sealed = row.sealed;
    const auto nonce = sealed.substr(0, kNonceBytes);
    const auto body = sealed.substr(kNonceBytes, sealed.size() - kNonceBytes - kTagBytes);
    std::string tag(sealed.substr(sealed.size() - kTagBytes));
    const auto identity = identity_of(row);

    std::string text;
    text.reserve(std::max(body.size(), kNeverInside));
    text.resize(body.size());
    int length = 0;
    int tail = 0;
    const Context context(EVP_CIPHER_CTX_new());
    const bool done =
        context &&
        EVP_DecryptInit_ex2(context.get(), EVP_aes_256_gcm(), data_of(master->key.reveal()),
                            data_of(nonce), nullptr) == 1 &&
        EVP_DecryptUpdate(context.get(), nullptr, &length, data_of(identity), size_of(identity)) ==
            1 &&
        EVP_DecryptUpdate(context.get(), data_of(text), &length, data_of(body), size_of(body)) ==
            1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1 &&
        EVP_DecryptFinal_ex(context.get(), data_of(text) + length, &tail) == 1;
    // Also what did not prove genuine is wiped.
    core::Secret key(std::move(text));
    if (!done) {
        return failed("provider key " + std::to_string(row.id) +
                      " was not sealed for its row, or is damaged");
    }
    return key;
}

core::Result<void> KeyVault::reseal(storage::ProviderKeyRow& row) const
{
    auto key = open(row);
    if (!key) {
        return key.error();
    }
    return seal(row, *key);
}

bool KeyVault::is_current(const storage::ProviderKeyRow& row) const noexcept
{
    return row.master_key == masters_.front().name;
}

}  // namespace llmproxy::accounts
