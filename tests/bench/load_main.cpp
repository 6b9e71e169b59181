/// \file
/// A closed-loop load generator: one thread, epoll, N connections, one request at a time on each.
///
/// Ends after `--requests` requests or `--seconds`, whichever comes first, and prints one line of
/// JSON (load_report.hpp).
///
/// With `--warm-up N` that many requests go first, at least one on each connection; then the line
/// `warm` goes out, a line on standard input starts the measured part, and of the first part only
/// its errors are in the report.
///
/// With `--connect AUTHORITY` each new connection asks for a tunnel first. With `--hold` every
/// connection asks for a stream and keeps it: after the first event on each, the line `holding N`
/// goes out, and the end of standard input ends it.

#include "load_client.hpp"
#include "load_plan.hpp"
#include "load_report.hpp"
#include "options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <sys/epoll.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace llmproxy::bench {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;
constexpr std::size_t kOpeningAtOnce = 32;  // streams being opened under --hold
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::size_t kEnoughFailures = 1000;  // then no further request is sent
constexpr std::uint64_t kStandardInput = ~0ULL;
constexpr std::string_view kStamp = "\"t\":\"";

class Load {
public:
    explicit Load(Plan plan)
        : plan_(std::move(plan)), clients_(plan_.connections),
          epoll_(::epoll_create1(EPOLL_CLOEXEC))
    {
    }

    LoadReport run()
    {
        if (plan_.warm_up > 0 && !plan_.hold) {
            begin_part(plan_.warm_request, std::max(plan_.warm_up, clients_.size()), 0);
            run_part();
            if (!finished()) {
                return end_part();
            }
            std::puts("warm");
            std::fflush(stdout);
            char byte = 0;
            if (::read(STDIN_FILENO, &byte, 1) <= 0) {
                return end_part();
            }
        }
        if (plan_.hold) {
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u64 = kStandardInput;
            ::epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &event);
        }
        begin_part(plan_.request, plan_.requests, plan_.every_ns);
        run_part();
        return end_part();
    }

private:
    /// \param every_ns  time between two requests, whatever becomes of them; 0: the next follows a reply at once.
    void begin_part(const std::string& request, std::uint64_t requests, std::int64_t every_ns)
    {
        request_ = request;
        wanted_ = requests;
        issued_ = 0;
        every_ns_ = every_ns;
        next_to_start_ = every_ns == 0 ? 0 : clients_.size();
        idle_.clear();
        for (std::size_t index = 0; every_ns != 0 && index < clients_.size(); ++index) {
            idle_.push_back(index);
        }
        std::map<std::string, std::uint64_t> errors = std::move(report_.errors);
        report_ = LoadReport{};
        report_.errors = std::move(errors);
        report_.latencies.reserve(requests);
        start_cpu_ = own_cpu_ns();
        start_ = now_ns();
        end_ = start_ + plan_.seconds * kNanosPerSecond;
    }

    LoadReport end_part()
    {
        report_.wall = now_ns() - start_;
        report_.unfinished = busy_;
        report_.cpu = own_cpu_ns() - start_cpu_;
        return std::move(report_);
    }

    void run_part()
    {
        std::array<epoll_event, 512> events{};
        while (!finished()) {
            const std::int64_t now = now_ns();
            if (now >= end_) {
                break;
            }
            start_due(now);
            if (finished()) {
                break;  // every request has failed at once
            }
            const timespec timeout = until_next(now);
            const int count = ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()),
                                             &timeout, nullptr);
            for (int index = 0; index < count; ++index) {
                dispatch(events[static_cast<std::size_t>(index)]);
            }
        }
    }

    /// How long nothing has to be begun.
    [[nodiscard]] timespec until_next(std::int64_t now) const
    {
        std::int64_t wait = end_ - now;
        if (every_ns_ != 0 && issued_ < wanted_ && !idle_.empty()) {
            wait = std::clamp<std::int64_t>(due() - now, 0, wait);
        } else if (next_to_start_ < clients_.size() && !plan_.hold) {
            wait = 0;
        }
        return {wait / kNanosPerSecond, wait % kNanosPerSecond};
    }

    /// When the next request is due, where they come at a rate.
    [[nodiscard]] std::int64_t due() const
    {
        return start_ + static_cast<std::int64_t>(issued_) * every_ns_;
    }

    [[nodiscard]] bool finished() const
    {
        return plan_.hold ? released_ : busy_ == 0 && issued_ >= wanted_;
    }

    void start_due(std::int64_t now)
    {
        while (every_ns_ != 0 && issued_ < wanted_ && !idle_.empty() && due() <= now) {
            const auto began = due();  // what a late beginning costs is part of the latency
            Client& client = clients_[idle_.back()];
            idle_.pop_back();
            begin(client);
            client.started = began;
        }
        while (next_to_start_ < clients_.size()) {
            const auto share = static_cast<std::int64_t>(next_to_start_) * plan_.stagger_ns /
                               static_cast<std::int64_t>(clients_.size());
            if (start_ + share > now || (plan_.hold && opening_ >= kOpeningAtOnce)) {
                return;
            }
            begin(clients_[next_to_start_++]);
        }
    }

    void dispatch(const epoll_event& event)
    {
        if (event.data.u64 == kStandardInput) {
            char byte = 0;
            released_ = ::read(STDIN_FILENO, &byte, 1) <= 0;
            return;
        }
        Client& client = clients_[event.data.u64];
        if (!client.socket.is_open()) {
            return;
        }
        if (client.written < outgoing(client).size() && client.busy) {
            flush(client);
        }
        if ((event.events & ~static_cast<unsigned>(EPOLLOUT)) != 0 && client.socket.is_open()) {
            receive(client, (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
        }
    }

    void begin(Client& client)
    {
        if (issued_ >= wanted_) {
            return;
        }
        ++issued_;
        ++busy_;
        opening_ += plan_.hold ? 1 : 0;
        client.busy = true;
        client.saw_event = false;
        client.saw_done = false;
        client.started = now_ns();
        client.reused = client.socket.is_open();
        send(client);
    }

    void send(Client& client)
    {
        client.parser.reset();
        client.written = 0;
        if (!client.socket.is_open()) {
            client.socket =
                Socket::connect(plan_.port, plan_.tls ? &*plan_.tls : nullptr, plan_.name.c_str());
            if (!client.socket.is_open()) {
                finish(client, "connect");
                return;
            }
            ++report_.connections;
            client.tunnel = plan_.connect.empty() ? Client::Tunnel::none : Client::Tunnel::asked;
            watch(epoll_, client.socket.descriptor(),
                  static_cast<std::uint64_t>(&client - clients_.data()));
        }
        flush(client);
    }

    [[nodiscard]] std::string_view outgoing(const Client& client) const
    {
        return client.tunnel == Client::Tunnel::asked ? plan_.connect : request_;
    }

    void flush(Client& client)
    {
        while (client.written < outgoing(client).size()) {
            const std::string_view left = outgoing(client).substr(client.written);
            const IoResult result = client.socket.write(left);
            if (result.status == IoStatus::closed) {
                closed(client);
                return;
            }
            if (result.status == IoStatus::again) {
                return;
            }
            client.written += result.bytes;
        }
    }

    void receive(Client& client, bool until_end)
    {
        while (client.socket.is_open()) {
            const IoResult result = client.socket.read(buffer_.data(), buffer_.size());
            if (result.status == IoStatus::closed) {
                closed(client);
                return;
            }
            if (result.status == IoStatus::again) {
                if (client.busy && client.written < outgoing(client).size()) {
                    flush(client);  // the handshake ended with what was just read
                }
                return;
            }
            ++report_.reads;
            const std::int64_t arrival = now_ns();
            if (!take(client, std::string_view(buffer_.data(), result.bytes), arrival)) {
                return;
            }
            if (result.bytes < buffer_.size() && !client.socket.is_tls() && !until_end) {
                return;
            }
        }
    }

    /// False once the socket's events belong to a next request or to nobody.
    bool take(Client& client, std::string_view data, std::int64_t arrival)
    {
        if (client.tunnel == Client::Tunnel::asked) {
            client.take_answer(data);
            if (client.tunnel == Client::Tunnel::refused) {
                finish(client, "no tunnel");
                return false;
            }
            if (client.tunnel == Client::Tunnel::open) {
                flush(client);
            }
            return client.socket.is_open();
        }
        const auto taken = client.parser.feed(data);
        if (!client.busy || !taken || *taken < data.size()) {
            client.socket.close();
            if (client.busy) {
                finish(client, "not HTTP or surplus bytes");
            }
            return false;
        }
        if (plan_.stream) {
            scan_events(client, arrival);
        } else {
            report_.body_bytes += client.parser.body().size();
            client.parser.body().clear();
        }
        if (!client.parser.is_complete()) {
            return true;
        }
        complete(client);
        return false;
    }

    void scan_events(Client& client, std::int64_t arrival)
    {
        std::string& body = client.parser.body();
        std::string_view rest(body);
        for (std::size_t end = rest.find("\n\n"); end != std::string_view::npos;
             end = rest.find("\n\n")) {
            const std::string_view event = rest.substr(0, end);
            const std::size_t stamp = event.rfind(kStamp);
            if (stamp != std::string_view::npos) {
                std::int64_t sent = 0;
                const std::string_view digits = event.substr(stamp + kStamp.size());
                std::from_chars(digits.data(), digits.data() + digits.size(), sent);
                report_.delays.push_back(arrival - sent);
                first_event(client);
            } else if (event == "data: [DONE]") {
                client.saw_done = true;
            }
            rest.remove_prefix(end + 2);
        }
        report_.body_bytes += body.size() - rest.size();
        body.erase(0, body.size() - rest.size());
    }

    void first_event(Client& client)
    {
        if (client.saw_event) {
            return;
        }
        client.saw_event = true;
        if (!plan_.hold) {
            return;
        }
        --opening_;
        if (++held_ == clients_.size()) {
            std::printf("holding %zu\n", held_);
            std::fflush(stdout);
        }
    }

    void closed(Client& client)
    {
        client.socket.close();
        if (!client.busy) {
            return;
        }
        if (client.parser.finish_at_close()) {
            complete(client);
        } else if (client.reused && !client.parser.has_started()) {
            client.reused = false;  // closed while idle; once more, on a new connection
            send(client);
        } else {
            finish(client, client.parser.has_head() ? "cut" : "closed without a reply");
        }
    }

    void complete(Client& client)
    {
        const int status = client.parser.status();
        if (plan_.new_connection || !client.parser.keeps_alive()) {
            client.socket.close();
        }
        if (status != 200) {
            finish(client, "status " + std::to_string(status));
        } else if (plan_.stream && !client.saw_done) {
            finish(client, "no [DONE]");
        } else {
            finish(client, {});
        }
    }

    /// Ends the request, well if `error` is empty, and begins the next.
    void finish(Client& client, const std::string& error)
    {
        --busy_;
        client.busy = false;
        if (error.empty()) {
            ++report_.completed;
            report_.latencies.push_back(now_ns() - client.started);
        } else {
            ++report_.errors[error];
            client.socket.close();
            if (++failures_ == kEnoughFailures) {
                issued_ = wanted_;
            }
        }
        if (plan_.hold) {
            opening_ -= client.saw_event ? 0 : 1;
        } else if (every_ns_ != 0) {
            idle_.push_back(static_cast<std::size_t>(&client - clients_.data()));
        } else if (now_ns() < end_) {
            begin(client);
        }
    }

    Plan plan_;
    std::vector<Client> clients_;
    int epoll_;
    std::string request_;       // of the part under way
    std::uint64_t wanted_ = 0;  // requests of the part under way
    std::int64_t start_ = 0;
    std::int64_t end_ = 0;
    std::int64_t start_cpu_ = 0;
    std::size_t next_to_start_ = 0;
    std::int64_t every_ns_ = 0;      // of the part under way
    std::vector<std::size_t> idle_;  // clients without a request, where they come at a rate
    std::uint64_t issued_ = 0;
    std::uint64_t busy_ = 0;
    std::size_t opening_ = 0;
    std::size_t held_ = 0;
    bool released_ = false;
    std::size_t failures_ = 0;
    LoadReport report_;
    std::array<char, kReadSize> buffer_{};
};

}  // namespace
}  // namespace llmproxy::bench

int main(int count, char** arguments)
{
    using namespace llmproxy::bench;
    const Options options(
        count, arguments,
        "port ca name path model warm-model token connect upload connections warm-up requests "
        "seconds stagger-us every-us",
        "new-connection stream hold");
    prepare_process();
    const auto load = std::make_unique<Load>(make_plan(options));
    std::puts(load->run().to_json().c_str());
}
