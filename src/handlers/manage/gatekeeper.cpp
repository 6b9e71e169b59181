#include "gatekeeper.hpp"

#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/core/ip_address.hpp"

#include <algorithm>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

std::vector<ManagementToken> all_of(const ManagementSettings& settings)
{
    auto tokens = settings.tokens;
    if (!settings.token.empty()) {
        tokens.push_back(ManagementToken{"admin", settings.token, ManagementRole::admin});
    }
    std::erase_if(tokens, [](const auto& one) { return one.token.empty(); });
    return tokens;
}

Failure refusal(std::string detail, std::string message)
{
    Failure failure(Errc::invalid_api_key, Origin::client, std::move(detail));
    failure.say(std::move(message));
    return failure;
}

}  // namespace

std::string throttled_address(const std::string& address)
{
    const auto parsed = core::IpAddress::parse(address);
    if (!parsed || !parsed->unmapped().is_v6()) {
        return parsed ? parsed->unmapped().to_string() : address;
    }
    core::IpAddress::V6Bytes network{};
    std::copy_n(parsed->bytes().begin(), 8, network.begin());
    return core::IpAddress(network).to_string();
}

core::Duration FailureThrottle::wait(const std::string& address, core::SteadyTime now)
{
    const std::lock_guard lock(mutex_);
    const auto found = addresses_.find(address);
    return found == addresses_.end() ? core::Duration(0) : found->second.take(0, now).wait;
}

void FailureThrottle::failed(const std::string& address, core::SteadyTime now)
{
    const std::lock_guard lock(mutex_);
    if (addresses_.size() >= kMostAddresses && !addresses_.contains(address)) {
        make_room(now);
    }
    addresses_.try_emplace(address, kPerMinute).first->second.charge(1, now);
}

std::size_t FailureThrottle::size() const
{
    const std::lock_guard lock(mutex_);
    return addresses_.size();
}

void FailureThrottle::make_room(core::SteadyTime now)
{
    // A quarter at once, so that it is not done for each of very many addresses.
    using Place = std::map<std::string, policy::Gcra>::iterator;
    std::vector<std::pair<core::Duration, Place>> places;
    places.reserve(addresses_.size());
    for (auto at = addresses_.begin(); at != addresses_.end(); ++at) {
        places.emplace_back(at->second.figures(now).reset, at);
    }
    const auto quarter = places.begin() + static_cast<std::ptrdiff_t>(places.size() / 4);
    std::nth_element(places.begin(), quarter, places.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto place = places.begin(); place != quarter; ++place) {
        addresses_.erase(place->second);
    }
}

Gatekeeper::Gatekeeper(const ManagementSettings& settings)
    : tokens_(std::make_shared<const Tokens>(all_of(settings)))
{
}

void Gatekeeper::replace(const ManagementSettings& settings)
{
    auto tokens = std::make_shared<const Tokens>(all_of(settings));
    const std::lock_guard lock(mutex_);
    tokens_ = std::move(tokens);
}

std::shared_ptr<const Gatekeeper::Tokens> Gatekeeper::tokens() const
{
    const std::lock_guard lock(mutex_);
    return tokens_;
}

core::Result<Actor> Gatekeeper::admit(std::string_view authorization, std::size_t authorizations,
                                      const std::string& address, core::SteadyTime now,
                                      core::Duration& wait)
{
    if (authorizations == 0) {
        return refusal("no management token",
                       "The management API needs a token: Authorization: Bearer TOKEN.");
    }
    const auto from = throttled_address(address);
    wait = throttle_.wait(from, now);
    if (wait > core::Duration(0)) {
        return Failure(Errc::rate_limit_exceeded, Origin::client, "wrong management tokens")
            .say("Too many wrong tokens came from this address. Try again later.");
    }
    const auto presented = auth::bearer_token(authorization).value_or("");
    const auto held = tokens();
    const ManagementToken* holder = nullptr;
    for (const auto& one : *held) {  // all of them, so that the time does not tell which it was
        const bool same = core::equal_constant_time(one.token.reveal(), presented);
        holder = same ? &one : holder;
    }
    if (holder == nullptr || authorizations > 1) {
        throttle_.failed(from, now);
        return refusal("wrong management token", "Incorrect management token.");
    }
    Actor actor;
    actor.name = holder->name;
    actor.source = address;
    actor.role = holder->role;
    return actor;
}

}  // namespace llmproxy::handlers::manage
