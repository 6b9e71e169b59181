#pragma once

#include "llmproxy/core/ids.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>

namespace llmproxy::accounts {

/// Whose requests, streams and tunnels are under way, so that they can be ended when a token is revoked.
///
/// Thread safety: every member may be called concurrently; adding and removing takes a short lock of a part of the
/// registry that belongs to the thread. Lifetime: must outlive its registrations; what was posted may outlive both.
class LiveGrants {
    struct Node;
    struct Part;

public:
    /// One of them. Destroying it ends it: `cancel` is not called any more, if that happens on its executor, which has to
    /// be a strand. Move-only.
    class Registration {
    public:
        Registration() noexcept = default;
        Registration(Registration&& other) noexcept = default;
        Registration& operator=(Registration&& other) noexcept;
        ~Registration() { end(); }

        [[nodiscard]] explicit operator bool() const noexcept { return node_ != nullptr; }
        void end() noexcept;
        /// Posts `cancel`, as a revocation would.
        void cancel() const;

    private:
        friend class LiveGrants;
        explicit Registration(std::shared_ptr<Node> node) noexcept : node_(std::move(node)) {}
        std::shared_ptr<Node> node_;
    };

    LiveGrants();
    LiveGrants(const LiveGrants&) = delete;
    LiveGrants& operator=(const LiveGrants&) = delete;
    ~LiveGrants();

    /// \param cancel  posted to `executor` at most once for each call of `cancel` below.
    [[nodiscard]] Registration add(core::TokenId token, core::ProjectId project,
                                   boost::asio::any_io_executor executor,
                                   std::function<void()> cancel);

    /// Posts the callbacks of everything under way for a token, or a project; tells how many. Looks at all registrations.
    std::size_t cancel(core::TokenId token);
    std::size_t cancel(core::ProjectId project);

    [[nodiscard]] std::size_t size() const;

private:
    template <typename Match>
    std::size_t cancel_if(Match match);

    static constexpr std::size_t kParts = 16;
    std::array<std::unique_ptr<Part>, kParts> parts_;
};

}  // namespace llmproxy::accounts
