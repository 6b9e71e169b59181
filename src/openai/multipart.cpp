#include "llmproxy/openai/multipart.hpp"

#include "llmproxy/core/text.hpp"

#include <optional>

namespace llmproxy::openai {
namespace {

using State = MultipartModel::State;

constexpr auto kNone = std::string_view::npos;
constexpr std::size_t kMaxValue = 256;
constexpr std::size_t kMaxBoundary = 70;  // RFC 2046, section 5.1.1

/// The value of a parameter behind the first `;`, quoted or not; nothing if it is not there.
std::optional<std::string> parameter(std::string_view header, std::string_view wanted)
{
    auto at = header.find(';');
    while (at != kNone && at < header.size()) {
        ++at;
        const auto equals = header.find_first_of("=;", at);
        if (equals == kNone) {
            return std::nullopt;
        }
        if (header[equals] == ';') {
            at = equals;
            continue;
        }
        const auto name = core::trim(header.substr(at, equals - at));
        std::string value;
        at = header.find_first_not_of(" \t", equals + 1);
        if (at != kNone && header[at] == '"') {
            for (++at; at < header.size() && header[at] != '"'; ++at) {
                if (header[at] == '\\' && at + 1 < header.size()) {
                    ++at;
                }
                value += header[at];
            }
            at = header.find(';', at);
        } else {
            const auto end = header.find(';', equals + 1);
            value = core::trim(header.substr(equals + 1, end == kNone ? kNone : end - equals - 1));
            at = end;
        }
        if (core::iequals(name, wanted)) {
            return value;
        }
    }
    return std::nullopt;
}

/// Whether the header lines of a part make it the form field `model`.
bool is_model_field(std::string_view lines)
{
    constexpr std::string_view kName = "content-disposition:";
    constexpr std::string_view kFormData = "form-data";
    while (!lines.empty()) {
        const auto end = lines.find("\r\n");
        const auto line = lines.substr(0, end);
        lines = end == kNone ? std::string_view() : lines.substr(end + 2);
        if (line.size() < kName.size() || !core::iequals(line.substr(0, kName.size()), kName)) {
            continue;
        }
        const auto value = line.substr(kName.size());
        return core::iequals(core::trim(value.substr(0, value.find(';'))), kFormData) &&
               parameter(value, "name") == "model" && !parameter(value, "filename");
    }
    return false;
}

}  // namespace

MultipartModel multipart_model(std::string_view content_type, std::string_view prefix)
{
    constexpr std::string_view kType = "multipart/form-data";
    if (!core::iequals(core::trim(content_type.substr(0, content_type.find(';'))), kType)) {
        return {};
    }
    const auto boundary = parameter(content_type, "boundary");
    if (!boundary || boundary->empty() || boundary->size() > kMaxBoundary) {
        return {};
    }
    const bool whole = prefix.size() >= kMaxMultipartPrefix;
    const MultipartModel more{whole ? State::absent : State::need_more, {}, 0};
    prefix = prefix.substr(0, kMaxMultipartPrefix);
    const std::string delimiter = "\r\n--" + *boundary;
    const auto opening = std::string_view(delimiter).substr(2);

    auto at = opening.size();
    if (prefix.size() < opening.size() && opening.starts_with(prefix)) {
        return more;
    }
    if (!prefix.starts_with(opening)) {  // a preamble
        at = prefix.find(delimiter);
        if (at == kNone) {
            return more;
        }
        at += delimiter.size();
    }
    while (true) {
        if (prefix.substr(at).starts_with("--")) {
            return {};
        }
        const auto line_end = prefix.find("\r\n", at);
        if (line_end == kNone) {
            return more;
        }
        // Header lines begin behind the delimiter's line end, which a part without headers shares.
        const auto head_end = prefix.find("\r\n\r\n", line_end);
        if (head_end == kNone) {
            return more;
        }
        const auto body = head_end + 4;
        const auto lines = head_end > line_end
                               ? prefix.substr(line_end + 2, head_end - line_end - 2)
                               : std::string_view();
        const auto next = prefix.find(delimiter, head_end + 2);
        if (next == kNone) {
            return more;
        }
        if (next >= body && next - body <= kMaxValue && is_model_field(lines)) {
            return {State::found, std::string(prefix.substr(body, next - body)), body};
        }
        at = next + delimiter.size();
    }
}

}  // namespace llmproxy::openai
