#include "support/backend_process.hpp"

#include "support/quick_backend.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

extern char** environ;

namespace llmproxy::test {

namespace {

constexpr const char* kFlag = "--backend-process";

[[noreturn]] void fail(const char* what)
{
    throw std::system_error(errno, std::generic_category(), what);
}

/// A socket on that port of 127.0.0.1 which others of this user may be bound to as well.
Fd bind_shared(std::uint16_t& port)
{
    SocketAddress at("127.0.0.1", port);
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    auto* const bound = reinterpret_cast<sockaddr*>(&at.storage);
    if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(fd.get(), bound, at.size) != 0 || ::getsockname(fd.get(), bound, &at.size) != 0) {
        fail("bind");
    }
    port = ntohs(reinterpret_cast<const sockaddr_in*>(&at.storage)->sin_port);
    return fd;
}

}  // namespace

BackendProcess::BackendProcess()
{
    reserved_ = bind_shared(port_);
    start();
}

BackendProcess::~BackendProcess()
{
    kill();
}

std::string BackendProcess::url() const
{
    return "http://127.0.0.1:" + std::to_string(port_) + "/v1";
}

void BackendProcess::kill()
{
    if (process_ > 0) {
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = -1;
    }
}

void BackendProcess::start()
{
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        fail("pipe2");
    }
    const Fd ready(pipe[0]);
    Fd told(pipe[1]);
    std::string program = "/proc/self/exe";
    std::string flag = kFlag;
    std::string port = std::to_string(port_);
    std::array<char*, 4> arguments{program.data(), flag.data(), port.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, told.get(), STDOUT_FILENO);
    errno = ::posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (errno != 0) {
        fail("posix_spawn");
    }
    told.close();
    char byte = 0;
    if (::read(ready.get(), &byte, 1) != 1) {
        errno = ECHILD;
        fail("the backend's process did not come up");
    }
}

void BackendProcess::run_if_child(int argc, char** argv)
{
    if (argc != 3 || std::string_view(argv[1]) != kFlag) {
        return;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto port = static_cast<std::uint16_t>(std::strtoul(argv[2], nullptr, 10));
    Listening listening;
    listening.fd = bind_shared(port);
    listening.port = port;
    if (::listen(listening.fd.get(), 4096) != 0) {
        fail("listen");
    }
    const QuickBackend backend({}, std::move(listening));
    if (::write(STDOUT_FILENO, "x", 1) != 1) {
        fail("write");
    }
    for (;;) {
        ::pause();
    }
}

}  // namespace llmproxy::test
