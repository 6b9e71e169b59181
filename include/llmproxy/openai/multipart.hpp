#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::openai {

/// What the beginning of a multipart body tells about its `model` field.
struct MultipartModel {
    enum class State : std::uint8_t {
        found,
        need_more,  ///< the beginning is too short to tell
        absent,  ///< not there, not within the first kMaxMultipartPrefix bytes, or not multipart at all
    };
    State state = State::absent;
    std::string value;
    std::size_t offset = 0;  ///< of the value in the body
};

/// How far into a body the field is looked for.
inline constexpr std::size_t kMaxMultipartPrefix = std::size_t{64} * 1024;

/// Looks for the form field `model` (RFC 7578) in the beginning of a body. The first one counts; a field with a
/// file name, or a value of more than 256 bytes, does not.
/// \param content_type  the request's Content-Type, for the boundary.
[[nodiscard]] MultipartModel multipart_model(std::string_view content_type,
                                             std::string_view prefix);

}  // namespace llmproxy::openai
