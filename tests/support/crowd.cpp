#include "support/crowd.hpp"

#include <cstdlib>
#include <mutex>
#include <thread>

namespace llmproxy::test {

std::size_t CrowdResult::good() const
{
    const auto found = by_status.find(200);
    return found == by_status.end() ? 0 : found->second;
}

std::size_t CrowdResult::failed() const
{
    std::size_t all = none;
    for (const auto& [status, count] : by_status) {
        all += status == 200 ? 0 : count;
    }
    return all;
}

void CrowdResult::add(const Response& reply)
{
    if (reply.status == 0) {
        ++none;
    } else if (!reply.complete()) {
        ++cut;
    } else {
        ++by_status[reply.status];
        ++by_backend[reply.head["x-llm-proxy-backend"]];
    }
}

void CrowdResult::add(const CrowdResult& other)
{
    for (const auto& [status, count] : other.by_status) {
        by_status[status] += count;
    }
    for (const auto& [backend, count] : other.by_backend) {
        by_backend[backend] += count;
    }
    cut += other.cut;
    none += other.none;
}

CrowdResult ask_in_turn(const ProxyUnderTest& proxy, std::size_t threads, std::size_t each,
                        const std::function<bool(const Response&)>& go_on)
{
    CrowdResult all;
    std::mutex mutex;
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < threads; ++i) {
        clients.emplace_back([&] {
            CrowdResult own;
            auto client = proxy.connect();
            for (std::size_t n = 0; n < each; ++n) {
                const auto reply = client.ask(chat());
                own.add(reply);
                if (go_on && !go_on(reply)) {
                    break;
                }
                if (!reply.complete() || same_text(reply.head["Connection"], "close")) {
                    client = proxy.connect();
                }
            }
            const std::lock_guard lock(mutex);
            all.add(own);
        });
    }
    for (auto& one : clients) {
        one.join();
    }
    return all;
}

std::vector<Response> ask_at_once(const ProxyUnderTest& proxy, std::size_t count,
                                  const std::function<void()>& meanwhile,
                                  const std::string& request)
{
    std::vector<TestClient> clients;
    clients.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        clients.push_back(proxy.connect());
        clients.back().send(request);
    }
    if (meanwhile) {
        meanwhile();
    }
    std::vector<Response> replies;
    replies.reserve(count);
    for (auto& client : clients) {
        replies.push_back(client.response());
    }
    return replies;
}

CrowdResult summed(const std::vector<Response>& replies)
{
    CrowdResult all;
    for (const auto& reply : replies) {
        all.add(reply);
    }
    return all;
}

std::size_t test_scale()
{
    const char* const text = std::getenv("LLMPROXY_TEST_SCALE");
    const auto scale = text == nullptr ? 1UL : std::strtoul(text, nullptr, 10);
    return scale == 0 ? 1 : scale;
}

}  // namespace llmproxy::test
