#include "support/fault_gate.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>

namespace llmproxy::test {

namespace {

/// Passes what one side sends; false at the end of that direction.
enum class Passed : std::uint8_t { on, ended, cut };

Passed pass(Wire& from, Wire& to, std::size_t& left, std::size_t split)
{
    std::string bytes;
    const auto end = from.read(bytes, std::chrono::milliseconds(0));
    if (end == ReadEnd::timeout) {
        return Passed::on;
    }
    if (end == ReadEnd::fin) {
        to.half_close();
        return Passed::ended;
    }
    if (end != ReadEnd::data) {
        return Passed::cut;
    }
    bool cut = false;
    if (left != Faults::kNever) {
        cut = bytes.size() >= left;
        bytes.resize(std::min(bytes.size(), left));
        left -= bytes.size();
    }
    const auto step = split == 0 ? bytes.size() : split;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
        if (!to.send(std::string_view(bytes).substr(at, step))) {
            return Passed::cut;
        }
    }
    return cut ? Passed::cut : Passed::on;
}

}  // namespace

FaultGate::FaultGate(std::uint16_t target, Faults faults)
    : target_(target), listening_(listen_local()), port_(listening_.port), faults_(faults)
{
    acceptor_ = std::thread([this] { accept_loop(); });
}

FaultGate::~FaultGate()
{
    stopping_ = true;
    stop_.open();
    acceptor_.join();
    for (auto& thread : threads_) {
        thread.join();
    }
}

void FaultGate::set(Faults faults)
{
    const std::lock_guard lock(mutex_);
    faults_ = faults;
}

void FaultGate::release()
{
    released_.open(1U << 20);
}

void FaultGate::cut_all(bool with_reset)
{
    const std::lock_guard lock(mutex_);
    for (auto& [id, open] : open_) {
        open.with_reset = with_reset;
        open.cut->open();
    }
}

void FaultGate::accept_loop()
{
    for (;;) {
        std::array<pollfd, 2> items{pollfd{listening_.fd.get(), POLLIN, 0},
                                    pollfd{stop_.fd(), POLLIN, 0}};
        ::poll(items.data(), items.size(), -1);
        if (items[1].revents != 0) {
            return;
        }
        Fd fd(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) {
            continue;
        }
        const std::lock_guard lock(mutex_);
        const auto id = accepted_++;
        threads_.emplace_back([this, id, fd = std::move(fd), faults = faults_]() mutable {
            serve(id, std::move(fd), faults);
        });
    }
}

void FaultGate::serve(std::size_t id, Fd fd, Faults faults)
{
    Wire client(std::move(fd));
    if (faults.reset_on_accept) {
        client.reset();
        return;
    }
    Gate cut;
    {
        const std::lock_guard lock(mutex_);
        open_[id] = Open{&cut};
    }
    Wire target;
    std::size_t to_target = faults.cut_to_target_after;
    std::size_t to_client = faults.cut_to_client_after;
    bool waiting = faults.hold || faults.black_hole;
    bool client_ended = false;
    bool target_ended = false;
    bool with_reset = faults.cut_with_reset;
    try {
        if (!waiting) {
            target = Wire::connect(target_);
        }
        while (!(client_ended && target_ended)) {
            const short client_events = waiting || client_ended ? 0 : POLLIN;
            std::array<pollfd, 5> items{
                pollfd{stop_.fd(), POLLIN, 0}, pollfd{cut.fd(), POLLIN, 0},
                pollfd{waiting && !faults.black_hole ? released_.fd() : -1, POLLIN, 0},
                pollfd{client_ended ? -1 : client.fd(), client_events, 0},
                pollfd{waiting || target_ended ? -1 : target.fd(), POLLIN, 0}};
            ::poll(items.data(), items.size(), -1);
            if (items[0].revents != 0 || items[1].revents != 0) {
                const std::lock_guard lock(mutex_);
                with_reset = with_reset || open_[id].with_reset;
                break;
            }
            if (items[2].revents != 0) {
                waiting = false;
                target = Wire::connect(target_);
                continue;
            }
            if (waiting && items[3].revents != 0) {
                break;
            }
            auto step = Passed::on;
            if (items[3].revents != 0) {
                step = pass(client, target, to_target, faults.split);
                client_ended = step == Passed::ended;
            }
            if (step != Passed::cut && items[4].revents != 0) {
                const auto back = pass(target, client, to_client, faults.split);
                target_ended = back == Passed::ended;
                step = back == Passed::cut ? back : step;
            }
            if (step == Passed::cut) {
                break;
            }
        }
    } catch (const std::system_error&) {
        with_reset = true;
    }
    if (with_reset) {
        client.reset();
        target.reset();
    }
    const std::lock_guard lock(mutex_);
    open_.erase(id);
}

std::uint16_t dead_port()
{
    // Bound for as long as the test program runs, so that nobody else gets the port, but never listening.
    static std::vector<Fd> bound;
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        throw std::runtime_error("no port to leave dead");
    }
    bound.push_back(std::move(fd));
    return ntohs(address.sin_port);
}

SilentPort::SilentPort(const std::string& address, std::uint16_t port)
    : listening_(listen_local(0, port, address))
{
    const SocketAddress to(address, listening_.port);
    for (int i = 0; i < 4; ++i) {
        Fd fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        (void)::connect(fd.get(), to.get(), to.size);
        pollfd item{fd.get(), POLLOUT, 0};
        (void)::poll(&item, 1, 100);
        fillers_.push_back(std::move(fd));
    }
}

}  // namespace llmproxy::test
