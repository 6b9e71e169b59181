#include "llmproxy/upstream/destinations.hpp"

#include "llmproxy/net/ip.hpp"
#include "unit/net/session.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <sys/socket.h>

namespace llmproxy::upstream {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using core::Errc;
using policy::DestinationUse;

/// Names and what each look-up of them gives; the last answer stays.
class FakeDns {
public:
    void answer(const std::string& name, std::vector<std::vector<std::string>> answers)
    {
        answers_[name] = std::move(answers);
    }
    net::LookupResult look_up(const std::string& name)
    {
        const std::lock_guard lock(mutex_);
        ++asked_;
        net::LookupResult result;
        const auto found = answers_.find(name);
        if (found == answers_.end()) {
            result.error = asio::error::host_not_found;
            result.reason = "no such name";
            return result;
        }
        auto& answers = found->second;
        for (const auto& text : answers.front()) {
            result.addresses.push_back(asio::ip::make_address(text));
        }
        if (answers.size() > 1) {
            answers.erase(answers.begin());
        }
        return result;
    }
    [[nodiscard]] int asked() const
    {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::vector<std::vector<std::string>>> answers_;
    int asked_ = 0;
};

net::ResolverOptions forgetful()
{
    net::ResolverOptions options;
    options.positive_ttl = core::Duration::zero();
    return options;
}

class DestinationsTest : public testing::Test {
protected:
    void use(std::vector<std::string> allow, std::vector<std::string> allow_private = {},
             std::vector<std::uint16_t> ports = {443})
    {
        policy::DestinationSettings settings;
        settings.allow = std::move(allow);
        settings.allow_private = std::move(allow_private);
        settings.connect_ports = std::move(ports);
        policy = std::make_shared<const policy::DestinationPolicy>(
            *policy::DestinationPolicy::make(settings));
    }

    static Destination to(const char* host, std::uint16_t port = 443)
    {
        return {*core::Host::parse(host), port, DestinationUse::connect};
    }

    using TokenHosts = std::shared_ptr<const std::vector<core::HostPattern>>;

    Vetted vet(Destination destination, TokenHosts hosts = nullptr)
    {
        return vet_with(destinations, std::move(destination), std::move(hosts));
    }
    Vetted vet_with(Destinations& by, Destination destination, TokenHosts hosts = nullptr)
    {
        return session.run([&](net::Watchdog& watchdog) {
            return by.vet(policy, std::move(destination), std::move(hosts), core::Deadline(),
                          watchdog);
        });
    }
    core::Result<net::Stream> dial(Destination destination, Vetted& vetted)
    {
        return session.run([&](net::Watchdog& watchdog) {
            return destinations.dial(policy, std::move(destination), nullptr, core::Deadline(),
                                     watchdog, vetted);
        });
    }

    static std::string listed(const Vetted& vetted)
    {
        std::string text;
        for (const auto& endpoint : vetted.endpoints) {
            text += (text.empty() ? "" : " ") + endpoint.address().to_string();
        }
        return text;
    }

    FakeDns dns;
    net::Resolver resolver{forgetful(),
                           [this](const std::string& name) { return dns.look_up(name); }};
    Destinations destinations{resolver};
    std::shared_ptr<const policy::DestinationPolicy> policy;
    net::test::Loop loop;
    net::test::Session session{loop};
};

TEST_F(DestinationsTest, AsksNobodyAboutHostsThatAreNotAllowed)
{
    use({"a.test"});
    dns.answer("b.test", {{"8.8.8.8"}});
    const auto vetted = vet(to("b.test"));
    EXPECT_FALSE(vetted.ok());
    EXPECT_EQ(vetted.rule, policy::DestinationRule::destination_not_listed);
    EXPECT_EQ(vetted.failure.errc(), Errc::destination_not_allowed);
    EXPECT_EQ(vetted.failure.info().status, 403);
    EXPECT_EQ(vetted.failure.message(),
              "This destination is not allowed (destination_not_listed).");
    EXPECT_EQ(vet(to("a.test", 22)).rule, policy::DestinationRule::port_not_allowed);
    EXPECT_EQ(dns.asked(), 0);
}

TEST_F(DestinationsTest, KeepsOnlyVettedAddressesInTheirOrder)
{
    use({"mixed.test"}, {"10.1.0.0/16"});
    dns.answer("mixed.test", {{"10.0.0.1", "8.8.8.8", "::1", "10.1.2.3", "::ffff:1.1.1.1",
                               "::ffff:127.0.0.1", "2606:4700::1111"}});
    const auto vetted = vet(to("mixed.test"));
    EXPECT_EQ(listed(vetted), "8.8.8.8 10.1.2.3 1.1.1.1 2606:4700::1111");
    EXPECT_EQ(vetted.endpoints.front().port(), 443);
    EXPECT_EQ(vetted.rule, policy::DestinationRule::allowed);
    EXPECT_EQ(vetted.address_class, policy::AddressClass::private_use);
    EXPECT_EQ(vetted.failure.errc(), Errc::none);
}

TEST_F(DestinationsTest, TellsTheLogButNotTheClientWhatANameIs)
{
    use({"inside.test"});
    dns.answer("inside.test", {{"10.0.0.1", "fd00::1"}});
    const auto vetted = vet(to("inside.test"));
    EXPECT_FALSE(vetted.ok());
    EXPECT_EQ(vetted.rule, policy::DestinationRule::address_not_public);
    EXPECT_EQ(vetted.address_class, policy::AddressClass::private_use);
    EXPECT_EQ(vetted.failure.message(), "This destination is not allowed (address_not_public).");
    EXPECT_EQ(vetted.failure.detail(), "address_not_public: inside.test:443 is 10.0.0.1 "
                                       "(private_use) fd00::1 (unique_local)");
}

TEST_F(DestinationsTest, RefusesEveryNotationOfAnAddressThatIsNotPublic)
{
    struct Row {
        const char* host;
        const char* allowed_by;
    };
    const Row rows[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"[::1]", "::1"},
        {"169.254.169.254", "169.254.0.0/16"},
        {"10.0.0.1", "10.0.0.0/8"},
        {"100.64.0.1", "100.64.0.0/10"},
        {"[fd00::1]", "fc00::/7"},
        {"[::ffff:127.0.0.1]", "127.0.0.1"},
        {"[64:ff9b::7f00:1]", "64:ff9b::/96"},
        {"2130706433", "127.0.0.1"},
        {"0x7f.1", "127.0.0.1"},
        {"0177.0.0.1", "127.0.0.1"},
        {"localhost", "127.0.0.1"},
        {"localhost.", "127.0.0.1"},
        {"inside.test", "192.168.0.0/16"},
    };
    dns.answer("localhost", {{"127.0.0.1"}});
    dns.answer("inside.test", {{"192.168.1.1"}});
    for (const auto& row : rows) {
        use({"*"});
        EXPECT_EQ(vet(to(row.host)).rule, policy::DestinationRule::address_not_public) << row.host;
        use({"*"}, {row.allowed_by});
        EXPECT_TRUE(vet(to(row.host)).ok()) << row.host;
    }
}

TEST_F(DestinationsTest, PassesOnThatANameDoesNotExist)
{
    use({"*"});
    const auto vetted = vet(to("missing.test"));
    EXPECT_FALSE(vetted.ok());
    EXPECT_EQ(vetted.failure.errc(), Errc::upstream_connect_failed);
    EXPECT_EQ(vetted.rule, policy::DestinationRule::allowed);
    EXPECT_FALSE(vetted.address_class);
}

TEST_F(DestinationsTest, RespectsTheListOfTheToken)
{
    use({"*.test"});
    dns.answer("a.test", {{"8.8.8.8"}});
    const auto hosts = std::make_shared<const std::vector<core::HostPattern>>(
        1, *core::HostPattern::parse("a.test"));
    EXPECT_TRUE(vet(to("a.test"), hosts).ok());
    const auto other = vet(to("b.test"), hosts);
    EXPECT_EQ(other.rule, policy::DestinationRule::token_not_allowed);
    EXPECT_EQ(dns.asked(), 1);
}

TEST_F(DestinationsTest, NeverSendsAnyoneToItsOwnListeners)
{
    use({"*"}, {"0.0.0.0/0", "::/0"}, {443, 8888});
    const auto local = net::local_addresses();
    ASSERT_TRUE(local);
    destinations.listen_on(policy::OwnListeners({{*core::IpAddress::parse("0.0.0.0"), 8888}}));
    dns.answer("self.test", {{"127.0.0.1"}});
    EXPECT_EQ(vet(to("self.test", 8888)).rule, policy::DestinationRule::own_listener);
    EXPECT_EQ(vet(to("0x7f.1", 8888)).rule, policy::DestinationRule::own_listener);
    for (const auto& address : *local) {
        if (address.is_v4()) {
            EXPECT_EQ(vet(to(address.to_string().c_str(), 8888)).rule,
                      policy::DestinationRule::own_listener)
                << address.to_string();
        }
    }
    EXPECT_TRUE(vet(to("self.test", 443)).ok());
}

TEST_F(DestinationsTest, DialsNothingWhenTheLocalAddressesAreUnknown)
{
    use({"*"}, {}, {443, 8888});
    Destinations blind(
        resolver, [] { return core::Failure(Errc::internal, core::Origin::self, "getifaddrs"); });
    blind.listen_on(policy::OwnListeners({{*core::IpAddress::parse("::"), 8888}}));
    const auto vetted = vet_with(blind, to("8.8.8.8", 8888));
    EXPECT_FALSE(vetted.ok());
    EXPECT_EQ(vetted.failure.errc(), Errc::internal);
    EXPECT_TRUE(vet_with(blind, to("8.8.8.8")).ok());
}

TEST_F(DestinationsTest, StopsAskingWhenTheClientLeaves)
{
    use({"slow.test"});
    std::promise<void> asked;
    std::promise<void> answer;
    net::Resolver slow(forgetful(), [&](const std::string&) {
        asked.set_value();
        answer.get_future().wait();
        return net::LookupResult{{asio::ip::make_address("8.8.8.8")}, {}, {}};
    });
    Destinations waiting(slow);
    auto vetted = session.start([&](net::Watchdog& watchdog) {
        return waiting.vet(policy, to("slow.test"), nullptr, core::Deadline(), watchdog);
    });
    asked.get_future().wait();
    session.client_leaves();
    EXPECT_EQ(vetted.get().failure.errc(), Errc::client_gone);  // although nobody has answered yet
    answer.set_value();
}

TEST_F(DestinationsTest, StopsDiallingWhenTheClientLeaves)
{
    // A listener whose queue is full answers no SYN.
    tcp::acceptor full(loop.io(), tcp::endpoint(asio::ip::make_address("127.0.0.4"), 0));
    full.listen(0);
    const auto port = full.local_endpoint().port();
    std::vector<tcp::socket> filling;
    for (int i = 0; i < 4; ++i) {
        filling.emplace_back(loop.io()).open(tcp::v4());
        filling.back().non_blocking(true);
        // Asio's own connect waits, whatever the socket says.
        const auto to = full.local_endpoint();
        static_cast<void>(::connect(filling.back().native_handle(), to.data(),
                                    static_cast<socklen_t>(to.size())));
    }
    use({"127.0.0.4"}, {"127.0.0.0/8"}, {port});
    Vetted vetted;
    auto stream = session.start([&](net::Watchdog& watchdog) {
        return destinations.dial(policy, to("127.0.0.4", port), nullptr, core::Deadline(), watchdog,
                                 vetted);
    });
    session.client_leaves();
    const auto given_up = stream.get();
    ASSERT_FALSE(given_up);
    EXPECT_EQ(given_up.error().errc(), Errc::client_gone);
}

TEST_F(DestinationsTest, DialsTheAddressThatWasVettedWhateverTheNameTurnsInto)
{
    tcp::acceptor good(loop.io(), tcp::endpoint(asio::ip::make_address("127.0.0.2"), 0));
    const auto port = good.local_endpoint().port();
    tcp::acceptor bad(loop.io(), tcp::endpoint(asio::ip::make_address("127.0.0.3"), port));
    bad.non_blocking(true);
    use({"rebinding.test"}, {"127.0.0.2"}, {port});
    dns.answer("rebinding.test", {{"127.0.0.2"}, {"127.0.0.3"}});

    Vetted vetted;
    auto stream = dial(to("rebinding.test", port), vetted);
    ASSERT_TRUE(stream) << stream.error().describe();
    EXPECT_EQ(dns.asked(), 1);
    EXPECT_EQ(listed(vetted), "127.0.0.2");
    tcp::endpoint peer;
    static_cast<void>(good.accept(peer));

    // The next request sees the new address, vets it anew and refuses it.
    auto refused = dial(to("rebinding.test", port), vetted);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::destination_not_allowed);
    EXPECT_EQ(vetted.rule, policy::DestinationRule::address_not_public);
    boost::system::error_code nobody;
    static_cast<void>(bad.accept(nobody));
    EXPECT_EQ(nobody, asio::error::would_block);
}

}  // namespace
}  // namespace llmproxy::upstream
