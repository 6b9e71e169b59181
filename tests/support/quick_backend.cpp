#include "support/quick_backend.hpp"

#include "support/http_text.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace llmproxy::test {

namespace {

constexpr std::size_t kListener = 0;
constexpr std::size_t kWake = 1;

void watch(int poll, int fd, std::size_t id)
{
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = id;
    if (::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0) {
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }
}

std::string text_of(const QuickBackend::Answer& answer)
{
    return "HTTP/1.1 " + std::to_string(answer.status) + " Quick\r\n" + answer.fields +
           "Content-Type: application/json\r\nContent-Length: " +
           std::to_string(answer.body.size()) + "\r\n\r\n" + answer.body;
}

}  // namespace

QuickBackend::QuickBackend(Rule rule) : QuickBackend(std::move(rule), listen_local(4096)) {}

QuickBackend::QuickBackend(Rule rule, Listening listening)
    : listening_(std::move(listening)), poll_(::epoll_create1(EPOLL_CLOEXEC)),
      rule_(std::move(rule))
{
    const int fd = listening_.fd.get();
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    watch(poll_.get(), fd, kListener);
    watch(poll_.get(), wake_.fd(), kWake);
    thread_ = std::thread([this] { run(); });
}

QuickBackend::~QuickBackend()
{
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.open();
    thread_.join();
}

std::string QuickBackend::url() const
{
    return "http://127.0.0.1:" + std::to_string(port()) + "/v1";
}

void QuickBackend::always(Rule rule)
{
    const std::lock_guard lock(mutex_);
    rule_ = std::move(rule);
}

void QuickBackend::hold(bool on)
{
    {
        const std::lock_guard lock(mutex_);
        hold_ = on;
        while (!on && !waiting_.empty()) {
            plan(waiting_.front());
            waiting_.pop_front();
        }
    }
    wake_.open();
}

void QuickBackend::announce(Gate& gate)
{
    const std::lock_guard lock(mutex_);
    announced_ = &gate;
}

bool QuickBackend::answer_one()
{
    {
        const std::lock_guard lock(mutex_);
        if (waiting_.empty()) {
            return false;
        }
        plan(waiting_.front());
        waiting_.pop_front();
    }
    wake_.open();
    return true;
}

std::size_t QuickBackend::request_count() const
{
    const std::lock_guard lock(mutex_);
    return requests_;
}

std::size_t QuickBackend::under_way() const
{
    const std::lock_guard lock(mutex_);
    return requests_ - answered_;
}

bool QuickBackend::wait_requests(std::size_t count)
{
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kGuard, [&] { return requests_ >= count; });
}

void QuickBackend::plan(const Due& request)
{
    const auto answer = rule_ ? rule_(request.number) : Answer();
    due_.emplace(std::chrono::steady_clock::now() + answer.delay,
                 std::pair(request.connection, text_of(answer)));
}

int QuickBackend::milliseconds_to_next()
{
    const std::lock_guard lock(mutex_);
    if (due_.empty()) {
        return -1;
    }
    const auto left = due_.begin()->first - std::chrono::steady_clock::now();
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    return whole > 0 ? static_cast<int>(whole) : 0;
}

void QuickBackend::run()
{
    std::array<epoll_event, 256> events{};
    for (;;) {
        const int count =
            ::epoll_wait(poll_.get(), events.data(), events.size(), milliseconds_to_next());
        for (int i = 0; i < count; ++i) {
            const auto id =
                static_cast<std::size_t>(events.at(static_cast<std::size_t>(i)).data.u64);
            if (id == kListener) {
                accept_all();
            } else if (id == kWake) {
                wake_.take();
            } else {
                read(id);
            }
        }
        {
            const std::lock_guard lock(mutex_);
            if (stopping_) {
                return;
            }
        }
        send_due();
    }
}

void QuickBackend::accept_all()
{
    for (;;) {
        Fd fd(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) {
            return;
        }
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(poll_.get(), fd.get(), next_id_);
        open_.emplace(next_id_++, Connection{std::move(fd), {}});
    }
}

void QuickBackend::read(std::size_t id)
{
    const auto found = open_.find(id);
    if (found == open_.end()) {
        return;
    }
    auto& connection = found->second;
    std::array<char, 16 * 1024> bytes{};
    for (;;) {
        const auto got = ::recv(connection.fd.get(), bytes.data(), bytes.size(), 0);
        if (got > 0) {
            connection.in.append(bytes.data(), static_cast<std::size_t>(got));
            continue;
        }
        if (got == 0 || errno != EAGAIN) {
            drop(id);
            return;
        }
        break;
    }
    while (take_request(connection, id)) {}
}

bool QuickBackend::take_request(Connection& connection, std::size_t id)
{
    const auto end = connection.in.find("\r\n\r\n");
    if (end == std::string::npos) {
        return false;
    }
    const auto head = parse_head(connection.in.substr(0, end + 4));
    const auto size = end + 4 + std::strtoull(head["content-length"].c_str(), nullptr, 10);
    if (connection.in.size() < size) {
        return false;
    }
    connection.in.erase(0, size);
    const std::lock_guard lock(mutex_);
    const Due request{id, requests_++};
    if (hold_) {
        waiting_.push_back(request);
    } else {
        plan(request);
    }
    changed_.notify_all();
    if (announced_ != nullptr) {
        announced_->open();
    }
    return true;
}

void QuickBackend::send_due()
{
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    while (!due_.empty() && due_.begin()->first <= now) {
        const auto& [id, text] = due_.begin()->second;
        const auto found = open_.find(id);
        // Answers are short: a socket that does not take one at once belongs to nobody who reads.
        const bool sent = found != open_.end() &&
                          ::send(found->second.fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
                              static_cast<ssize_t>(text.size());
        if (!sent) {
            drop(id);
        }
        ++answered_;
        due_.erase(due_.begin());
    }
}

void QuickBackend::drop(std::size_t id)
{
    open_.erase(id);
}

}  // namespace llmproxy::test
