#include "requests.hpp"

#include "llmproxy/http/head.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <limits>

namespace llmproxy::handlers::manage {
namespace {

namespace asio = boost::asio;
using telemetry::RecentRequests;
using Verdict = net::Watchdog::Verdict;

// Nobody on the way of requests tells a tail of them: it looks. So it costs them nothing.
constexpr std::chrono::milliseconds kLook{100};
constexpr std::chrono::seconds kQuiet{10};  // then a comment shows that the connection lives
constexpr std::size_t kPerPiece = 64;

/// One event (HTML Living Standard, section 9.2).
void append_event(std::string& out, std::string_view type, const Json& data)
{
    out.append("event: ").append(type).append("\ndata: ").append(to_text(data)).append("\n\n");
}

class TailSource final : public BodySource {
public:
    TailSource(const ManageParts& parts, RecentRequests::Wanted wanted, std::size_t last,
               std::uint64_t limit)
        : recent_(*parts.recent), draining_(*parts.draining), wanted_(std::move(wanted)),
          left_(limit), number_(recent_.next())
    {
        if (const auto before = recent_.newest(number_, last, wanted_); !before.empty()) {
            number_ = before.back().number;
        }
    }

    core::Task<core::Result<std::string>> next(net::Watchdog& watchdog) override
    {
        const auto began = std::chrono::steady_clock::now();
        while (!ended_) {
            auto text = take();
            if (text.empty() && (draining_ || watchdog.verdict() == Verdict::stopped)) {
                end(text, "draining");
            } else if (text.empty() && watchdog.verdict() == Verdict::client_gone) {
                co_return core::Failure(core::Errc::client_gone, core::Origin::client,
                                        "during a tail");
            } else if (text.empty() && std::chrono::steady_clock::now() - began >= kQuiet) {
                text = ":\n\n";
            }
            if (!text.empty()) {
                co_return text;
            }
            co_await look_later(watchdog);
        }
        co_return std::string();
    }

private:
    /// What has come since the last piece.
    std::string take()
    {
        const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(kPerPiece, left_));
        const auto batch = recent_.since(number_, most, wanted_);
        number_ = batch.next;
        std::string text;
        if (batch.missed != 0) {
            append_event(text, "missed", Json{{"missed", batch.missed}});
        }
        for (const auto& entry : batch.entries) {
            append_event(text, "request", show_request(entry));
        }
        left_ -= batch.entries.size();
        if (left_ == 0) {
            end(text, "limit");
        }
        return text;
    }

    void end(std::string& text, std::string_view reason)
    {
        append_event(text, "end", Json{{"reason", reason}});
        ended_ = true;
    }

    static core::Task<void> look_later(net::Watchdog& watchdog)
    {
        asio::steady_timer timer(watchdog.executor(), kLook);
        watchdog.guard_timer(&timer);
        watchdog.expect(core::Deadline());
        constexpr auto token = asio::as_tuple(asio::use_awaitable);
        [[maybe_unused]] auto [code] = co_await timer.async_wait(token);
        watchdog.guard_timer(nullptr);
    }

    const RecentRequests& recent_;
    const std::atomic<bool>& draining_;
    RecentRequests::Wanted wanted_;
    std::uint64_t left_;
    std::uint64_t number_;
    bool ended_ = false;
};

}  // namespace

core::Task<core::Result<Reply>> tail_requests(ManageParts& parts, Call& call)
{
    const auto last = call.parameter<std::int64_t>("last").value_or(0);
    const auto limit =
        call.parameter<std::int64_t>("limit").value_or(std::numeric_limits<std::int64_t>::max());
    Reply reply;
    reply.stream = std::make_unique<TailSource>(
        parts, wanted_of(call), static_cast<std::size_t>(last), static_cast<std::uint64_t>(limit));
    http::append_field(reply.fields, "Content-Type", "text/event-stream");
    co_return reply;
}

}  // namespace llmproxy::handlers::manage
