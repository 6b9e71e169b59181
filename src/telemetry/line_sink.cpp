#include "line_sink.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr int kPollMilliseconds = 100;

}  // namespace

core::Result<int> open_log_file(const std::string& path)
{
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
        const boost::system::error_code cause(errno, boost::system::system_category());
        return core::Failure(core::Errc::internal, core::Origin::self,
                             "cannot open log file " + path, cause);
    }
    return fd;
}

void leave_signals_to_others() noexcept
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

LineSink::LineSink(std::string path, int fd, bool owned)
    : path_(std::move(path)), fd_(fd), owned_(owned)
{
    look_at_kind();
}

LineSink::LineSink(LineSink&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)),
      owned_(std::exchange(other.owned_, false)), kind_(other.kind_), torn_(other.torn_),
      last_error_(other.last_error_)
{
}

LineSink::~LineSink()
{
    if (owned_) {
        ::close(fd_);
    }
}

core::Result<LineSink> LineSink::open(std::string path)
{
    if (path == "stdout") {
        return LineSink(std::move(path), STDOUT_FILENO, false);
    }
    if (path == "stderr") {
        return LineSink(std::move(path), STDERR_FILENO, false);
    }
    const auto fd = open_log_file(path);
    if (!fd) {
        return fd.error();
    }
    return LineSink(std::move(path), fd.value(), true);
}

core::Result<void> LineSink::reopen()
{
    if (!owned_) {
        return {};
    }
    const auto fd = open_log_file(path_);
    if (!fd) {
        return fd.error();
    }
    ::close(std::exchange(fd_, fd.value()));
    torn_ = false;
    look_at_kind();
    return {};
}

void LineSink::look_at_kind() noexcept
{
    struct stat status {};
    if (::fstat(fd_, &status) == 0 && !S_ISREG(status.st_mode)) {
        kind_ = S_ISSOCK(status.st_mode) ? Kind::socket : Kind::stream;
    } else {
        kind_ = Kind::file;
    }
}

std::uint64_t LineSink::write(std::string_view lines, const GiveUp& give_up)
{
    if (torn_ && write_all("\n", give_up) == 1) {
        torn_ = false;
    }
    const auto written = torn_ ? 0 : write_all(lines, give_up);
    if (written > 0) {
        torn_ = lines[written - 1] != '\n';
    }
    const auto rest = lines.substr(written);
    return static_cast<std::uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
}

std::size_t LineSink::write_all(std::string_view text, const GiveUp& give_up)
{
    std::size_t done = 0;
    while (done < text.size()) {
        // The descriptor may be shared with others, so it stays as blocking as it was found. A pipe
        // that polls writable takes PIPE_BUF bytes without blocking.
        if (kind_ == Kind::stream && !wait_writable(give_up)) {
            return done;
        }
        const auto piece =
            text.substr(done, kind_ == Kind::stream ? PIPE_BUF : std::string_view::npos);
        const auto sent = kind_ == Kind::socket
                              ? ::send(fd_, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                              : ::write(fd_, piece.data(), piece.size());
        if (sent >= 0) {
            done += static_cast<std::size_t>(sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_writable(give_up)) {
                return done;
            }
        } else if (errno != EINTR) {
            last_error_ = errno;
            return done;
        }
    }
    return done;
}

bool LineSink::wait_writable(const GiveUp& give_up)
{
    for (;;) {
        const bool last_look = give_up();
        pollfd waited{fd_, POLLOUT, 0};
        if (::poll(&waited, 1, last_look ? 0 : kPollMilliseconds) > 0) {
            return true;
        }
        if (last_look) {
            last_error_ = EAGAIN;
            return false;
        }
    }
}

}  // namespace llmproxy::telemetry
