#include "llmproxy/http/head.hpp"

#include "llmproxy/core/text.hpp"

#include <boost/beast/http/basic_parser.hpp>

#include <charconv>
#include <cstring>

namespace llmproxy::http {
namespace {

namespace beast = boost::beast;
using beast::error_code;
using beast::string_view;

std::string_view view(string_view text)
{
    return {text.data(), text.size()};
}

/// Beast's own grammar, with fields kept as views instead of copied.
template <bool is_request, typename Head>
class HeadParser final : public beast::http::basic_parser<is_request> {
public:
    explicit HeadParser(Head& head) : head_(head)
    {
        this->header_limit(std::numeric_limits<std::uint32_t>::max());
        this->body_limit(boost::none);
        this->eager(false);
    }

private:
    void on_request_impl(Verb verb, string_view method, string_view target, int version,
                         error_code&) override
    {
        if constexpr (is_request) {
            head_.verb = verb;
            head_.method = view(method);
            head_.target = view(target);
            head_.version = static_cast<unsigned>(version);
        }
    }
    void on_response_impl(int status, string_view reason, int version, error_code&) override
    {
        if constexpr (!is_request) {
            head_.status = static_cast<unsigned>(status);
            head_.reason = view(reason);
            head_.version = static_cast<unsigned>(version);
        }
    }
    void on_field_impl(FieldName id, string_view name, string_view value, error_code&) override
    {
        head_.fields.add(Field{id, view(name), view(value)});
    }
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
    std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
    void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override
    {
        return body.size();
    }
    void on_finish_impl(error_code&) override {}

    Head& head_;
};

bool has_folded_line(std::string_view raw) noexcept
{
    for (std::size_t at = raw.find('\n'); at != std::string_view::npos;
         at = raw.find('\n', at + 1)) {
        if (at + 1 < raw.size() && (raw[at + 1] == ' ' || raw[at + 1] == '\t')) {
            return true;
        }
    }
    return false;
}

/// Reads Transfer-Encoding and Content-Length; the reason for refusal, or nullptr.
const char* read_framing(const Fields& fields, unsigned version, Framing& out) noexcept
{
    std::size_t encodings = 0;
    std::size_t lengths = 0;
    std::string_view encoding;
    std::string_view length;
    for (const auto& field : fields) {
        if (field.id == FieldName::transfer_encoding) {
            ++encodings;
            encoding = field.value;
        } else if (field.id == FieldName::content_length) {
            ++lengths;
            length = field.value;
        }
    }
    if (encodings != 0) {
        if (lengths != 0) {
            return "both Transfer-Encoding and Content-Length";
        }
        if (encodings > 1 || !core::iequals(encoding, "chunked")) {
            return "Transfer-Encoding other than chunked";
        }
        if (version != 11) {
            return "Transfer-Encoding on HTTP/1.0";
        }
        out.kind = Framing::Kind::chunked;
        return nullptr;
    }
    if (lengths == 0) {
        return nullptr;
    }
    if (lengths > 1) {
        return "more than one Content-Length";
    }
    const bool canonical = !length.empty() && (length.size() == 1 || length.front() != '0') &&
                           length.find_first_not_of("0123456789") == std::string_view::npos;
    if (!canonical) {
        return "Content-Length is not a plain number";
    }
    const auto parsed = std::from_chars(length.data(), length.data() + length.size(), out.length);
    if (parsed.ec != std::errc()) {
        return "Content-Length is out of range";
    }
    out.kind = Framing::Kind::length;
    return nullptr;
}

core::Failure bad_request(const char* reason)
{
    core::Failure failure(core::Errc::bad_request, core::Origin::client, reason);
    failure.say(std::string("The request is malformed: ") + reason + ".");
    return failure;
}

bool wants_keep_alive(const Fields& fields, unsigned version) noexcept
{
    if (fields.lists(FieldName::connection, "close")) {
        return false;
    }
    return version == 11 || fields.lists(FieldName::connection, "keep-alive");
}

}  // namespace

std::string_view Fields::get(FieldName id) const noexcept
{
    for (const auto& line : lines_) {
        if (line.id == id) {
            return line.value;
        }
    }
    return {};
}

std::string_view Fields::get(std::string_view name) const noexcept
{
    for (const auto& line : lines_) {
        if (core::iequals(line.name, name)) {
            return line.value;
        }
    }
    return {};
}

std::size_t Fields::count(FieldName id) const noexcept
{
    std::size_t found = 0;
    for (const auto& line : lines_) {
        found += line.id == id ? 1 : 0;
    }
    return found;
}

bool Fields::lists(FieldName id, std::string_view token) const noexcept
{
    for (const auto& line : lines_) {
        if (line.id != id) {
            continue;
        }
        bool found = false;
        core::for_each_item(line.value,
                            [&](std::string_view item) { found |= core::iequals(item, token); });
        if (found) {
            return true;
        }
    }
    return false;
}

std::size_t find_head_end(std::string_view bytes, std::size_t& scanned) noexcept
{
    // By line ends: there are few, and memchr is faster than a search for all four bytes.
    for (auto at = bytes.find('\n', scanned); at != std::string_view::npos;
         at = bytes.find('\n', at + 1)) {
        if (at >= 3 && bytes[at - 1] == '\r' && bytes[at - 2] == '\n' && bytes[at - 3] == '\r') {
            scanned = at + 1;
            return at + 1;
        }
    }
    scanned = bytes.size();
    return 0;
}

core::Result<void> parse_request(std::string_view raw, RequestHead& out)
{
    out.fields.clear();
    out.framing = {};
    if (has_folded_line(raw)) {
        return bad_request("a folded field line");
    }
    HeadParser<true, RequestHead> parser(out);
    error_code code;
    parser.put(boost::asio::buffer(raw.data(), raw.size()), code);
    if (code || !parser.is_header_done()) {
        auto failure = bad_request("not an HTTP/1.1 request head");
        return core::Failure(core::Errc::bad_request, core::Origin::client,
                             code ? code.message() : "incomplete head", code)
            .say(std::string(failure.message()));
    }
    if (const char* reason = read_framing(out.fields, out.version, out.framing)) {
        return bad_request(reason);
    }
    const auto hosts = out.fields.count(FieldName::host);
    if (hosts > 1 || (hosts == 0 && out.version == 11)) {
        return bad_request("exactly one Host field is required");
    }
    for (const char c : out.target) {
        const auto u = static_cast<unsigned char>(c);
        if (u <= 0x20 || u >= 0x7f || c == '#') {
            return bad_request("the target has characters that are not allowed");
        }
    }
    out.keep_alive = wants_keep_alive(out.fields, out.version);
    out.expect_continue = false;
    if (out.fields.has(FieldName::expect) && out.version == 11) {
        if (!core::iequals(out.fields.get(FieldName::expect), "100-continue")) {
            return bad_request("an expectation that is not supported");
        }
        out.expect_continue = true;
    }
    return {};
}

core::Result<void> parse_response(std::string_view raw, Verb method, ResponseHead& out)
{
    const auto refuse = [](std::string detail, error_code cause = {}) {
        return core::Failure(core::Errc::upstream_bad_response, core::Origin::upstream,
                             std::move(detail), cause);
    };
    out.fields.clear();
    out.framing = {};
    if (has_folded_line(raw)) {
        return refuse("a folded field line");
    }
    HeadParser<false, ResponseHead> parser(out);
    parser.skip(true);
    error_code code;
    parser.put(boost::asio::buffer(raw.data(), raw.size()), code);
    if (code || !parser.is_header_done()) {
        return refuse("not an HTTP/1.1 response head", code);
    }
    if (const char* reason = read_framing(out.fields, out.version, out.framing)) {
        return refuse(reason);
    }
    if (out.status < 100 || out.status > 599) {
        return refuse("status " + std::to_string(out.status));
    }
    const bool bodiless =
        method == Verb::head || out.status / 100 == 1 || out.status == 204 || out.status == 304;
    if (bodiless) {
        out.framing = {};
    } else if (out.framing.kind == Framing::Kind::none) {
        out.framing.kind = Framing::Kind::until_close;
    }
    out.keep_alive =
        wants_keep_alive(out.fields, out.version) && out.framing.kind != Framing::Kind::until_close;
    return {};
}

bool is_hop_by_hop(const Field& field) noexcept
{
    switch (field.id) {
    case FieldName::connection:
    case FieldName::keep_alive:
    case FieldName::proxy_connection:
    case FieldName::te:
    case FieldName::trailer:
    case FieldName::transfer_encoding:
    case FieldName::upgrade: return true;
    default: return field.name.size() > 6 && core::iequals(field.name.substr(0, 6), "proxy-");
    }
}

bool is_named_by_connection(const Fields& fields, const Field& field) noexcept
{
    return fields.lists(FieldName::connection, field.name);
}

void append_field(std::string& out, std::string_view name, std::string_view value)
{
    core::append_all(out, name, ": ", value, "\r\n");
}

}  // namespace llmproxy::http
