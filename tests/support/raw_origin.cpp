#include "support/raw_origin.hpp"

#include <array>
#include <poll.h>
#include <sys/socket.h>

namespace llmproxy::test {

RawOrigin::RawOrigin(Script script)
    : script_(std::move(script)), listening_(listen_local(1024)), port_(listening_.port)
{
    acceptor_ = std::thread([this] { accept_loop(); });
}

RawOrigin::~RawOrigin()
{
    stop_.open();
    acceptor_.join();
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (auto& [id, wire] : open_) {
            wire->shutdown_both();
        }
    }
    for (auto& thread : threads_) {
        thread.join();
    }
}

void RawOrigin::accept_loop()
{
    for (;;) {
        std::array<pollfd, 2> items{pollfd{listening_.fd.get(), POLLIN, 0},
                                    pollfd{stop_.fd(), POLLIN, 0}};
        ::poll(items.data(), items.size(), -1);
        if (items[1].revents != 0) {
            listening_.fd.close();
            return;
        }
        Fd fd(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) {
            continue;
        }
        const auto id = accepted_++;
        ++running_;
        threads_.emplace_back([this, id, fd = std::move(fd)]() mutable {
            Wire wire(std::move(fd));
            {
                const std::lock_guard lock(mutex_);
                open_[id] = &wire;
                if (stopping_) {
                    wire.shutdown_both();
                }
            }
            script_(wire);
            const std::lock_guard lock(mutex_);
            open_.erase(id);
            --running_;
        });
    }
}

void echo(Wire& wire)
{
    std::string bytes;
    while (wire.read(bytes) == ReadEnd::data && wire.send(bytes)) {
        bytes.clear();
    }
    wire.half_close();
}

}  // namespace llmproxy::test
