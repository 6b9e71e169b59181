#include "llmproxy/http/forwarded.hpp"

#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <limits>
#include <optional>

namespace llmproxy::http {
namespace {

namespace ip = boost::asio::ip;

std::optional<ip::address> parse_hop(std::string_view text) noexcept
{
    if (!text.empty() && text.front() == '[') {
        const auto end = text.find(']');
        if (end == std::string_view::npos || (end + 1 < text.size() && text[end + 1] != ':')) {
            return std::nullopt;
        }
        text = text.substr(1, end - 1);
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        text = text.substr(0, text.find(':'));
    }
    if (text.empty() || text.size() > 45) {
        return std::nullopt;
    }
    boost::system::error_code code;
    const auto address = ip::make_address(text, code);
    if (code) {
        return std::nullopt;
    }
    return net::normalise(address);
}

}  // namespace

bool is_trusted(const ip::address& address, std::span<const net::Cidr> trusted) noexcept
{
    return std::any_of(trusted.begin(), trusted.end(),
                       [&](const net::Cidr& block) { return block.contains(address); });
}

ip::address forwarded_client(const ip::address& peer, std::span<const std::string_view> values,
                             std::span<const net::Cidr> trusted) noexcept
{
    ip::address client = net::normalise(peer);
    for (auto value = values.rbegin(); value != values.rend(); ++value) {
        std::string_view rest = *value;
        while (!rest.empty()) {
            const auto comma = rest.rfind(',');
            const bool first = comma == std::string_view::npos;
            const auto item = core::trim(first ? rest : rest.substr(comma + 1));
            rest = first ? std::string_view() : rest.substr(0, comma);
            if (item.empty()) {
                continue;
            }
            if (!is_trusted(client, trusted)) {
                return client;
            }
            const auto hop = parse_hop(item);
            if (!hop) {
                return client;
            }
            client = *hop;
        }
    }
    return client;
}

std::string via_pseudonym(std::string_view instance)
{
    return std::string("llm-proxy-").append(instance);
}

bool came_through(const Fields& fields, std::string_view pseudonym) noexcept
{
    return std::any_of(fields.begin(), fields.end(), [&](const Field& field) {
        return field.id == FieldName::via && field.value.find(pseudonym) != std::string_view::npos;
    });
}

core::Result<std::optional<std::uint64_t>> max_forwards(const RequestHead& head)
{
    const bool counts = head.verb == Verb::trace || head.verb == Verb::options;
    const auto lines = counts ? head.fields.count(FieldName::max_forwards) : 0;
    if (lines == 0) {
        return std::optional<std::uint64_t>();
    }
    const auto text = head.fields.get(FieldName::max_forwards);
    const bool number =
        !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
    if (lines > 1 || !number) {
        return core::Failure(core::Errc::bad_request, core::Origin::client, "Max-Forwards")
            .say("The request is malformed: Max-Forwards is not one number.");
    }
    // More than fits is more than anybody counts down.
    return core::parse_number<std::uint64_t>(text).value_or(
        std::numeric_limits<std::uint64_t>::max());
}

void append_via(std::string& out, const Fields& received, std::string_view pseudonym)
{
    out.append("Via: ");
    for (const auto& field : received) {
        if (field.id == FieldName::via) {
            out.append(field.value).append(", ");
        }
    }
    out.append("1.1 ").append(pseudonym).append("\r\n");
}

}  // namespace llmproxy::http
