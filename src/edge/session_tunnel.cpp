#include "session.hpp"
#include "tunnelled.hpp"

namespace llmproxy::edge {

core::Task<void> Session::relay()
{
    // A tunnel may stay quiet for long: nothing of the request's is kept that the record does not need.
    std::string().swap(raw_head_);
    head_ = http::RequestHead();
    auto& tunnel = *tunnelled_;
    if (tunnel.pending.progress_interval > core::Duration::zero()) {
        tunnel.progress = std::make_unique<boost::asio::steady_timer>(watchdog_.executor());
        report_progress_later();
    }
    server_->parts.metrics.tunnel_opened();
    std::exception_ptr escaped;
    try {
        co_await http::relay_tunnel(stream_, buffer_, tunnel.pending.upstream, tunnel.pending.first,
                                    watchdog_, tunnel.pending.idle_limit, tunnel.traffic);
    } catch (...) {
        escaped = std::current_exception();
    }
    tunnel.progress.reset();
    note_traffic();
    if (tunnel.pending.on_end) {
        auto ending = tunnel.pending.on_end(tunnel.traffic,
                                            std::chrono::steady_clock::now() - tunnel.started);
        const auto word = co_await std::move(ending);
        if (!word.empty()) {
            tunnel.record.tunnel = word;
        }
    }
    server_->parts.metrics.tunnel_closed(tunnel.record.tunnel, tunnel.traffic.from_client,
                                         tunnel.traffic.from_upstream);
    finish_request(tunnel.record, tunnel.started);
    if (escaped) {
        std::rethrow_exception(escaped);
    }
}

void Session::note_traffic()
{
    auto& tunnel = *tunnelled_;
    tunnel.record.bytes_in = tunnel.traffic.from_client;
    tunnel.record.bytes_out = tunnel.traffic.from_upstream;
    tunnel.record.tunnel = http::to_string(tunnel.traffic.end);
}

void Session::report_progress_later()
{
    auto& tunnel = *tunnelled_;
    tunnel.progress->expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        tunnel.pending.progress_interval));
    tunnel.progress->async_wait(
        [self = shared_from_this()](const boost::system::error_code& cancelled) {
            if (cancelled || !self->tunnelled_->progress) {
                return;
            }
            self->note_traffic();
            auto& record = self->tunnelled_->record;
            record.times.total = std::chrono::steady_clock::now() - self->tunnelled_->started;
            self->server_->parts.access_log.write(record);
            self->report_progress_later();
        });
}

}  // namespace llmproxy::edge
