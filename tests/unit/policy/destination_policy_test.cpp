#include "llmproxy/policy/destination_policy.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::policy {
namespace {

using core::Host;
using core::HostPattern;
using core::IpAddress;
using Use = DestinationUse;
using Rule = DestinationRule;

DestinationPolicy policy_of(std::vector<std::string> allow,
                            std::vector<std::string> allow_private = {})
{
    DestinationSettings settings;
    settings.allow = std::move(allow);
    settings.allow_private = std::move(allow_private);
    return *DestinationPolicy::make(settings);
}

std::string_view host_rule(const DestinationPolicy& policy, const char* host, std::uint16_t port,
                           Use use = Use::connect,
                           const std::vector<HostPattern>* token_hosts = nullptr)
{
    return to_text(policy.check_host(*Host::parse(host), port, use, token_hosts));
}

std::string_view address_rule(const DestinationPolicy& policy, const char* address,
                              std::uint16_t port = 443, const OwnListeners& own = {},
                              const std::vector<IpAddress>& local = {})
{
    return to_text(policy.check_address(*IpAddress::parse(address), port, own, local).rule);
}

TEST(DestinationPolicy, AllowsNothingWithAnEmptyList)
{
    EXPECT_EQ(host_rule(DestinationPolicy(), "api.openai.com", 443), "destination_not_listed");
    EXPECT_EQ(host_rule(policy_of({}), "127.0.0.1", 443), "destination_not_listed");
}

TEST(DestinationPolicy, TellsUnlistedHostsFromPorts)
{
    const auto policy = policy_of({"api.openai.com", "*.test:8443", "*.test:9443", "10.0.0.1"});
    EXPECT_EQ(host_rule(policy, "api.openai.com", 443), "allowed");
    EXPECT_EQ(host_rule(policy, "api.openai.com", 80), "port_not_allowed");
    EXPECT_EQ(host_rule(policy, "api.openai.com", 80, Use::http), "allowed");
    EXPECT_EQ(host_rule(policy, "api.openai.com", 443, Use::http), "port_not_allowed");
    EXPECT_EQ(host_rule(policy, "openai.com", 443), "destination_not_listed");
    EXPECT_EQ(host_rule(policy, "a.test", 8443), "allowed");
    EXPECT_EQ(host_rule(policy, "a.test", 9443, Use::http), "allowed");
    EXPECT_EQ(host_rule(policy, "a.test", 443), "port_not_allowed");
    EXPECT_EQ(host_rule(policy, "test", 8443), "destination_not_listed");
    EXPECT_EQ(host_rule(policy, "167772161", 443), "allowed");
    EXPECT_EQ(host_rule(policy, "[::ffff:10.0.0.1]", 443), "allowed");
}

TEST(DestinationPolicy, FollowsConfiguredPorts)
{
    DestinationSettings settings;
    settings.allow = {"a.test"};
    settings.connect_ports = {443, 8443};
    settings.http_ports = {};
    const auto policy = *DestinationPolicy::make(settings);
    EXPECT_EQ(host_rule(policy, "a.test", 8443), "allowed");
    EXPECT_EQ(host_rule(policy, "a.test", 22), "port_not_allowed");
    EXPECT_EQ(host_rule(policy, "a.test", 80, Use::http), "port_not_allowed");
}

TEST(DestinationPolicy, NarrowsDownToTheListOfTheToken)
{
    const auto policy = policy_of({"*.test", "a.test:8443"});
    const std::vector<HostPattern> token{*HostPattern::parse("a.test"),
                                         *HostPattern::parse("elsewhere.example")};
    EXPECT_EQ(host_rule(policy, "a.test", 443, Use::connect, &token), "allowed");
    EXPECT_EQ(host_rule(policy, "b.test", 443, Use::connect, &token), "token_not_allowed");
    EXPECT_EQ(host_rule(policy, "a.test", 8443, Use::connect, &token), "token_not_allowed");
    EXPECT_EQ(host_rule(policy, "elsewhere.example", 443, Use::connect, &token),
              "destination_not_listed");
    const std::vector<HostPattern> nothing;
    EXPECT_EQ(host_rule(policy, "a.test", 443, Use::connect, &nothing), "token_not_allowed");
}

TEST(DestinationPolicy, RefusesAddressesThatAreNotPublicUnlessListed)
{
    const char* const refused[] = {
        "127.0.0.1",     "::1",         "169.254.169.254",  "10.0.0.1",
        "100.64.0.1",    "fd00::1",     "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "0.0.0.0",       "::",          "224.0.0.1",        "255.255.255.255",
        "2002:7f00:1::", "::127.0.0.1", "192.0.2.1",        "198.18.0.1",
        "2001:db8::1"};
    const auto strict = policy_of({"*"});
    for (const auto* address : refused) {
        EXPECT_EQ(address_rule(strict, address), "address_not_public") << address;
        EXPECT_EQ(address_rule(policy_of({"*"}, {address}), address), "allowed") << address;
    }
    EXPECT_EQ(address_rule(strict, "8.8.8.8"), "allowed");
    EXPECT_EQ(address_rule(strict, "2606:4700::1111"), "allowed");
    const auto one_net = policy_of({"*"}, {"10.20.0.0/16"});
    EXPECT_EQ(address_rule(one_net, "10.20.255.1"), "allowed");
    EXPECT_EQ(address_rule(one_net, "::ffff:10.20.255.1"), "allowed");
    EXPECT_EQ(address_rule(one_net, "10.21.0.1"), "address_not_public");
    // A translator's prefix has to be listed itself.
    EXPECT_EQ(address_rule(one_net, "64:ff9b::10.20.0.1"), "address_not_public");
}

TEST(DestinationPolicy, ReportsTheClassWithTheRule)
{
    const auto verdict =
        policy_of({"*"}, {"10.0.0.0/8"}).check_address(*IpAddress::parse("10.0.0.1"), 443, {}, {});
    EXPECT_EQ(verdict.rule, Rule::allowed);
    EXPECT_EQ(verdict.address_class, AddressClass::private_use);
}

OwnListeners listeners(const char* address, std::uint16_t port)
{
    return OwnListeners({{*IpAddress::parse(address), port}});
}

TEST(DestinationPolicy, NeverAllowsItsOwnListeners)
{
    const auto everything = policy_of({"*"}, {"0.0.0.0/0", "::/0"});
    const std::vector<IpAddress> local{*IpAddress::parse("127.0.0.1"), *IpAddress::parse("::1"),
                                       *IpAddress::parse("192.0.2.7"),
                                       *IpAddress::parse("2001:db8::7")};
    struct Row {
        const char* bound;
        const char* address;
        bool own;
    };
    const Row rows[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "::ffff:127.0.0.1", true},
        {"127.0.0.1", "0.0.0.0", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "192.0.2.7", false},
        {"127.0.0.1", "::1", false},
        {"127.0.0.1", "64:ff9b::7f00:1", true},
        {"127.0.0.1", "2002:7f00:1::", true},
        {"127.0.0.1", "::127.0.0.1", true},
        {"::1", "::", true},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        {"0.0.0.0", "127.0.0.1", true},
        {"0.0.0.0", "127.1.2.3", true},
        {"0.0.0.0", "192.0.2.7", true},
        {"0.0.0.0", "0.0.0.0", true},
        {"0.0.0.0", "0.0.0.1", true},
        {"0.0.0.0", "192.0.2.8", false},
        {"0.0.0.0", "2001:db8::7", false},
        {"0.0.0.0", "64:ff9b::192.0.2.7", true},
        {"::", "192.0.2.7", true},
        {"::", "127.0.0.1", true},
        {"::", "2001:db8::7", true},
        {"::", "::1", true},
        {"::", "::", true},
        {"::", "2001:db8::8", false},
        {"::ffff:0.0.0.0", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "127.0.0.1", false},
    };
    for (const auto& row : rows) {
        const auto own = listeners(row.bound, 8888);
        EXPECT_EQ(address_rule(everything, row.address, 8888, own, local),
                  row.own ? "own_listener" : "allowed")
            << row.bound << " <- " << row.address;
        EXPECT_EQ(address_rule(everything, row.address, 8889, own, local), "allowed")
            << row.bound << " <- " << row.address;
    }
    EXPECT_TRUE(listeners("::", 8888).has_port(8888));
    EXPECT_FALSE(listeners("::", 8888).has_port(8889));
}

TEST(DestinationPolicy, RefusesSettingsThatItCannotRead)
{
    DestinationSettings settings;
    settings.allow = {"a.*"};
    EXPECT_FALSE(DestinationPolicy::make(settings));
    settings.allow = {"a.b"};
    settings.allow_private = {"10/8"};
    EXPECT_FALSE(DestinationPolicy::make(settings));
}

TEST(DestinationRule, HasAWordEach)
{
    EXPECT_EQ(to_text(Rule::destination_not_listed), "destination_not_listed");
    EXPECT_EQ(to_text(Rule::port_not_allowed), "port_not_allowed");
    EXPECT_EQ(to_text(Rule::token_not_allowed), "token_not_allowed");
    EXPECT_EQ(to_text(Rule::own_listener), "own_listener");
    EXPECT_EQ(to_text(Rule::address_not_public), "address_not_public");
    EXPECT_EQ(static_cast<std::size_t>(Rule::address_not_public), kRefusingRules);
}

}  // namespace
}  // namespace llmproxy::policy
