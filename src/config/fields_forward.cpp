#include "field.hpp"

#include "llmproxy/core/host.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kDay = 24 * 3600 * kSecond;

Field ports_field(std::string path, std::string default_text, std::string description,
                  std::vector<std::uint16_t> policy::DestinationSettings::*ports)
{
    auto row =
        field(std::move(path), Type::port_list, std::move(default_text), std::move(description));
    row.set = [ports](Cursor& cursor, const Value& value) {
        auto& target = cursor.root->forward.destinations.*ports;
        target.clear();
        for (const auto& text : std::get<std::vector<std::string>>(value)) {
            if (const auto port = core::parse_port(text)) {
                target.push_back(*port);
            }
        }
    };
    row.get = [ports](Cursor& cursor) -> Value {
        std::vector<std::string> texts;
        for (const auto port : cursor.root->forward.destinations.*ports) {
            texts.push_back(std::to_string(port));
        }
        return texts;
    };
    return row;
}

}  // namespace

void add_forward_fields(std::vector<Field>& table)
{
    table.push_back(
        field(
            "forward.allow", Type::string_list, "[]",
            "Where clients of the forward proxy may go, as `host[:port]`; `*.x` is any name below "
            "`x` but not `x` itself, `*` every host; IPv6 addresses in brackets. An empty list "
            "allows nothing.")
            .bind([](Cursor & c) -> auto& { return c.root->forward.destinations.allow; })
            .show("[\"api.openai.com:443\", \"*.anthropic.com:443\"]"));
    table.push_back(
        field("forward.allow_private", Type::string_list, "[]",
              "Addresses or CIDRs that may be dialled although they are not public (loopback, "
              "private, link-local, metadata, ...). `forward.allow` must cover the host as well.")
            .bind([](Cursor & c) -> auto& { return c.root->forward.destinations.allow_private; }));
    table.push_back(ports_field("forward.connect_ports", "[443]",
                                "Ports that CONNECT may use where a pattern names none.",
                                &policy::DestinationSettings::connect_ports));
    table.push_back(ports_field("forward.http_ports", "[80]",
                                "The same for requests for `http://` addresses.",
                                &policy::DestinationSettings::http_ports));
    table.push_back(field("forward.idle_timeout", Type::duration, "10m",
                          "How long a tunnel may be without a byte in either direction.")
                        .between(kSecond / 1000, 30 * kDay)
                        .bind([](Cursor & c) -> auto& { return c.root->forward.idle_timeout; }));
    table.push_back(
        field("forward.progress_interval", Type::duration, "0s",
              "How often a tunnel that is still open is logged with its bytes so far; 0s: never.")
            .between(0, 30 * kDay)
            .bind([](Cursor & c) -> auto& { return c.root->forward.progress_interval; }));
}

}  // namespace llmproxy::config
