#include "header_value.hpp"

#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/core/base64.hpp"
#include "llmproxy/core/text.hpp"

namespace llmproxy::auth {

std::optional<std::string_view> after_scheme(std::string_view value,
                                             std::string_view scheme) noexcept
{
    value = core::trim(value);
    if (value.size() <= scheme.size() || value[scheme.size()] != ' ' ||
        !core::iequals(value.substr(0, scheme.size()), scheme)) {
        return std::nullopt;
    }
    return core::trim(value.substr(scheme.size()));
}

std::optional<std::string_view> bearer_token(std::string_view authorization) noexcept
{
    return after_scheme(authorization, "bearer");
}

std::optional<BasicCredential> decode_basic(std::string_view text)
{
    auto decoded = core::decode_base64(text);
    if (!decoded) {
        return std::nullopt;
    }
    const auto colon = decoded->find(':');
    BasicCredential credential;
    credential.user = decoded->substr(0, colon);
    if (colon != std::string::npos) {
        credential.password = decoded->substr(colon + 1);
    }
    return credential;
}

}  // namespace llmproxy::auth
