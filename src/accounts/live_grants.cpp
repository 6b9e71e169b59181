#include "llmproxy/accounts/live_grants.hpp"

#include <boost/asio/post.hpp>

#include <atomic>
#include <utility>
#include <vector>

namespace llmproxy::accounts {

/// A link of a part's ring.
struct LiveGrants::Node : std::enable_shared_from_this<Node> {
    core::TokenId token = core::TokenId::none;
    core::ProjectId project = core::ProjectId::none;
    boost::asio::any_io_executor executor;
    std::function<void()> cancel;
    std::atomic<bool> ended{false};
    Part* part = nullptr;
    Node* next = this;
    Node* previous = this;

    void post()
    {
        boost::asio::post(executor, [node = shared_from_this()] {
            if (!node->ended.load()) {
                node->cancel();
            }
        });
    }
};

struct LiveGrants::Part {
    mutable std::mutex mutex;
    Node ring;  // its beginning and end

    void link(Node& node) noexcept
    {
        const std::lock_guard lock(mutex);
        node.part = this;
        node.next = &ring;
        node.previous = ring.previous;
        ring.previous->next = &node;
        ring.previous = &node;
    }
    void unlink(Node& node) noexcept
    {
        const std::lock_guard lock(mutex);
        node.previous->next = node.next;
        node.next->previous = node.previous;
    }
};

LiveGrants::Registration& LiveGrants::Registration::operator=(Registration&& other) noexcept
{
    if (this != &other) {
        end();
        node_ = std::move(other.node_);
    }
    return *this;
}

void LiveGrants::Registration::end() noexcept
{
    if (const auto node = std::exchange(node_, nullptr)) {
        node->ended = true;
        node->part->unlink(*node);
    }
}

void LiveGrants::Registration::cancel() const
{
    if (node_) {
        node_->post();
    }
}

LiveGrants::LiveGrants()
{
    for (auto& part : parts_) {
        part = std::make_unique<Part>();
    }
}

LiveGrants::~LiveGrants() = default;

LiveGrants::Registration LiveGrants::add(core::TokenId token, core::ProjectId project,
                                         boost::asio::any_io_executor executor,
                                         std::function<void()> cancel)
{
    static std::atomic<std::size_t> threads{0};
    thread_local const std::size_t own_part = threads++ % kParts;
    auto node = std::make_shared<Node>();
    node->token = token;
    node->project = project;
    node->executor = std::move(executor);
    node->cancel = std::move(cancel);
    parts_[own_part]->link(*node);
    return Registration(std::move(node));
}

template <typename Match>
std::size_t LiveGrants::cancel_if(Match match)
{
    std::vector<std::shared_ptr<Node>> matching;
    for (const auto& part : parts_) {
        const std::lock_guard lock(part->mutex);
        for (auto* node = part->ring.next; node != &part->ring; node = node->next) {
            if (match(*node)) {
                matching.push_back(node->shared_from_this());
            }
        }
    }
    for (const auto& node : matching) {
        node->post();
    }
    return matching.size();
}

std::size_t LiveGrants::cancel(core::TokenId token)
{
    return cancel_if([token](const Node& node) { return node.token == token; });
}

std::size_t LiveGrants::cancel(core::ProjectId project)
{
    return cancel_if([project](const Node& node) { return node.project == project; });
}

std::size_t LiveGrants::size() const
{
    std::size_t count = 0;
    for (const auto& part : parts_) {
        const std::lock_guard lock(part->mutex);
        for (const auto* node = part->ring.next; node != &part->ring; node = node->next) {
            ++count;
        }
    }
    return count;
}

}  // namespace llmproxy::accounts
