#pragma once

#include "llmproxy/core/failure.hpp"

#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace llmproxy::http {

using FieldName = boost::beast::http::field;
using Verb = boost::beast::http::verb;

/// One field line. Both views point into the raw head.
struct Field {
    FieldName id = FieldName::unknown;
    std::string_view name;
    std::string_view value;  ///< without surrounding white space
};

/// The field lines of a head, in their order.
class Fields {
public:
    [[nodiscard]] auto begin() const noexcept { return lines_.begin(); }
    [[nodiscard]] auto end() const noexcept { return lines_.end(); }
    [[nodiscard]] std::size_t size() const noexcept { return lines_.size(); }

    /// Value of the first line of that name; empty if there is none.
    [[nodiscard]] std::string_view get(FieldName id) const noexcept;
    [[nodiscard]] std::string_view get(std::string_view name) const noexcept;
    [[nodiscard]] bool has(FieldName id) const noexcept { return count(id) != 0; }
    [[nodiscard]] std::size_t count(FieldName id) const noexcept;
    /// Whether a line of that name lists `token` (comma-separated, ignoring case; RFC 9110, section 5.6.1).
    [[nodiscard]] bool lists(FieldName id, std::string_view token) const noexcept;

    void clear() noexcept { lines_.clear(); }
    void reserve(std::size_t lines) { lines_.reserve(lines); }
    void add(Field field) { lines_.push_back(field); }

private:
    std::vector<Field> lines_;
};

/// How the end of a body is found (RFC 9112, section 6.3).
struct Framing {
    enum class Kind : std::uint8_t { none, length, chunked, until_close };
    Kind kind = Kind::none;
    std::uint64_t length = 0;  ///< bytes, for Kind::length
};

/// The head of a request that has passed the strict gate. Views live as long as the raw bytes do.
struct RequestHead {
    Verb verb = Verb::unknown;
    std::string_view method;
    std::string_view target;
    unsigned version = 11;  ///< 10 or 11
    Fields fields;
    Framing framing;
    bool keep_alive = true;
    bool expect_continue = false;
};

/// The head of an upstream's response that has passed the framing part of the gate.
struct ResponseHead {
    unsigned status = 0;
    std::string_view reason;
    unsigned version = 11;
    Fields fields;
    Framing framing;
    bool keep_alive = true;
};

/// Length of the head at the front of `bytes` with its empty line, or 0 while it is incomplete.
/// \param scanned  where the last look ended; kept by the caller, starts at 0.
[[nodiscard]] std::size_t find_head_end(std::string_view bytes, std::size_t& scanned) noexcept;

/// Parses one whole head, then refuses what two parsers could read differently: folded lines, Transfer-Encoding other
/// than exactly `chunked`, with a length or on HTTP/1.0, Content-Length that is listed, repeated or not canonical, Host
/// missing or repeated, control or non-ASCII characters in the target (RFC 9112, sections 3.2, 5.2, 6.1, 6.3, 11).
/// Fails with Errc::bad_request.
[[nodiscard]] core::Result<void> parse_request(std::string_view raw, RequestHead& out);

/// The same for a response to a request of `method`. Fails with Errc::upstream_bad_response.
[[nodiscard]] core::Result<void> parse_response(std::string_view raw, Verb method,
                                                ResponseHead& out);

/// Whether a field belongs to one connection only and must not be passed on (RFC 9110, section 7.6.1), `Proxy-*` included.
[[nodiscard]] bool is_hop_by_hop(const Field& field) noexcept;

/// Whether the Connection field of `fields` names `field`.
[[nodiscard]] bool is_named_by_connection(const Fields& fields, const Field& field) noexcept;

/// Appends `name: value\r\n`.
void append_field(std::string& out, std::string_view name, std::string_view value);

}  // namespace llmproxy::http
