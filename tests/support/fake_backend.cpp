#include "support/fake_backend.hpp"

#include <array>
#include <poll.h>
#include <sys/socket.h>

namespace llmproxy::test {

FakeBackend::FakeBackend(Script script, std::shared_ptr<SSL_CTX> tls, const std::string& address)
    : tls_(std::move(tls)),
      host_(address.find(':') == std::string::npos ? address : "[" + address + "]"),
      listening_(listen_local(256, 0, address)), port_(listening_.port), always_(std::move(script))
{
    acceptor_ = std::thread([this] { accept_loop(); });
}

FakeBackend::~FakeBackend()
{
    stopping_ = true;
    stop_.open();
    acceptor_.join();
    {
        const std::lock_guard lock(mutex_);
        for (auto& [id, wire] : open_) {
            wire->shutdown_both();
        }
    }
    for (auto& thread : threads_) {
        thread.join();
    }
}

std::string FakeBackend::url(std::string_view path, const std::string& host) const
{
    return (tls_ != nullptr ? "https://" : "http://") + (host.empty() ? host_ : host) + ":" +
           std::to_string(port_) + std::string(path);
}

void FakeBackend::always(Script script)
{
    const std::lock_guard lock(mutex_);
    always_ = std::move(script);
}

void FakeBackend::next(Script script)
{
    const std::lock_guard lock(mutex_);
    next_.push_back(std::move(script));
}

FakeBackend::Script FakeBackend::script_for_next()
{
    const std::lock_guard lock(mutex_);
    if (next_.empty()) {
        return always_;
    }
    auto script = std::move(next_.front());
    next_.pop_front();
    return script;
}

void FakeBackend::accept_loop()
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
        const std::lock_guard lock(mutex_);
        const auto id = closed_.size();
        closed_.emplace_back();
        threads_.emplace_back(
            [this, id, fd = std::move(fd)]() mutable { serve(id, std::move(fd)); });
        changed_.notify_all();
    }
}

void FakeBackend::serve(std::size_t id, Fd fd)
{
    Wire wire(std::move(fd));
    {
        const std::lock_guard lock(mutex_);
        open_[id] = &wire;
        if (stopping_) {
            wire.shutdown_both();
        }
    }
    bool usable = true;
    if (tls_ != nullptr) {
        usable = wire.accept_tls(tls_);
        const std::lock_guard lock(mutex_);
        const char* name = SSL_get_servername(wire.ssl(), TLSEXT_NAMETYPE_host_name);
        sni_ = name != nullptr ? name : "";
        client_certificate_ = SSL_get0_peer_certificate(wire.ssl()) != nullptr;
        if (!usable) {
            tls_failures_.push_back(wire.tls_error());
        }
    }
    std::string buffer;
    while (usable) {
        Exchange exchange(*this, wire, buffer);
        exchange.seen_.connection = id;
        usable = serve_one(exchange);
    }
    const std::lock_guard lock(mutex_);
    open_.erase(id);
}

bool FakeBackend::serve_one(Exchange& exchange)
{
    std::size_t end = 0;
    while ((end = exchange.buffer_.find("\r\n\r\n")) == std::string::npos) {
        if (!exchange.fill()) {
            return false;
        }
    }
    exchange.seen_.head = parse_head(exchange.buffer_.substr(0, end + 4));
    exchange.buffer_.erase(0, end + 4);
    const bool leave = leave_bodies_;
    if (!leave) {
        exchange.read_body();
    }
    std::size_t index = 0;
    {
        const std::lock_guard lock(mutex_);
        index = seen_.size();
        seen_.push_back(exchange.seen_);
        changed_.notify_all();
    }
    if (!leave && !exchange.seen_.whole) {
        return false;
    }
    const auto script = script_for_next();
    if (script) {
        script(exchange);
    } else {
        exchange.json("{}");
    }
    {
        const std::lock_guard lock(mutex_);
        seen_[index] = exchange.seen_;
    }
    return !exchange.over_ && !same_text(exchange.seen_.head["connection"], "close");
}

void FakeBackend::note_closed(std::size_t id)
{
    const std::lock_guard lock(mutex_);
    if (!closed_[id] && !stopping_) {
        closed_[id] = std::chrono::steady_clock::now();
        changed_.notify_all();
    }
}

std::vector<SeenRequest> FakeBackend::requests() const
{
    const std::lock_guard lock(mutex_);
    return seen_;
}

SeenRequest FakeBackend::last_request() const
{
    const std::lock_guard lock(mutex_);
    return seen_.empty() ? SeenRequest{} : seen_.back();
}

std::size_t FakeBackend::request_count() const
{
    const std::lock_guard lock(mutex_);
    return seen_.size();
}

std::size_t FakeBackend::connection_count() const
{
    const std::lock_guard lock(mutex_);
    return closed_.size();
}

std::vector<std::string> FakeBackend::tls_failures() const
{
    const std::lock_guard lock(mutex_);
    return tls_failures_;
}

std::string FakeBackend::last_sni() const
{
    const std::lock_guard lock(mutex_);
    return sni_;
}

bool FakeBackend::saw_client_certificate() const
{
    const std::lock_guard lock(mutex_);
    return client_certificate_;
}

bool FakeBackend::wait_requests(std::size_t count)
{
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kGuard, [&] { return seen_.size() >= count; });
}

bool FakeBackend::wait_connections(std::size_t count)
{
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kGuard, [&] { return closed_.size() >= count; });
}

std::optional<TestTime> FakeBackend::wait_closed(std::size_t connection,
                                                 std::chrono::milliseconds limit)
{
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limit, [&] {
        return connection < closed_.size() && closed_[connection].has_value();
    });
    return connection < closed_.size() ? closed_[connection] : std::nullopt;
}

}  // namespace llmproxy::test
