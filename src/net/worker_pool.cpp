#include "llmproxy/net/worker_pool.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <fcntl.h>
#include <pthread.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace llmproxy::net {
namespace {

/// Thrown by a handler to take its thread out of io_context::run, which can be entered again.
struct Leaving {};

thread_local unsigned own_index = 0;

}  // namespace

/// How long one thread has run, and waited for a processor although it could have run.
class WorkerPool::Meter {
public:
    /// Of the calling thread.
    Meter()
    {
        const auto path = "/proc/self/task/" + std::to_string(::gettid()) + "/schedstat";
        file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        ::pthread_getcpuclockid(::pthread_self(), &clock_);
    }
    Meter(const Meter&) = delete;
    Meter& operator=(const Meter&) = delete;
    ~Meter()
    {
        if (file_ >= 0) {
            ::close(file_);
        }
    }

    /// Since the last call. Any thread, one at a time.
    core::Duration busy()
    {
        const auto now = read();
        return now - std::exchange(last_, now);
    }

private:
    core::Duration read() const
    {
        // Two figures in nanoseconds: on a processor, waiting for one.
        std::array<char, 64> text{};
        const auto size = file_ >= 0 ? ::pread(file_, text.data(), text.size(), 0) : -1;
        if (size > 0) {
            const char* const end = text.data() + size;
            std::int64_t ran = 0;
            std::int64_t waited = 0;
            const auto first = std::from_chars(text.data(), end, ran);
            const bool two = first.ec == std::errc() && first.ptr != end &&
                             std::from_chars(first.ptr + 1, end, waited).ec == std::errc();
            if (two) {
                return core::Duration(ran + waited);
            }
        }
        timespec ran{};  // kernels without these statistics
        ::clock_gettime(clock_, &ran);
        return std::chrono::seconds(ran.tv_sec) + std::chrono::nanoseconds(ran.tv_nsec);
    }

    int file_ = -1;
    clockid_t clock_ = CLOCK_THREAD_CPUTIME_ID;
    core::Duration last_{0};
};

WorkerPool::WorkerPool(boost::asio::io_context& context, unsigned most)
    : context_(context), most_(std::max(1U, most)), demand_(most_), timer_(context), meters_(most_)
{
}

WorkerPool::~WorkerPool() = default;

void WorkerPool::start()
{
    running_ = all_ ? most_ : 1;
    looked_ = std::chrono::steady_clock::now();
    if (!all_ && most_ > 1) {
        look_later();
    }
    threads_.reserve(most_);
    for (unsigned index = 0; index < most_; ++index) {
        threads_.emplace_back([this, index] { work(index); });
    }
}

void WorkerPool::join()
{
    run_from_now_on(most_);  // so that those that are parked see the end too
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    wanted_.notify_all();
    for (auto& thread : threads_) {
        thread.join();
    }
    threads_.clear();
}

void WorkerPool::work(unsigned index)
{
    if (index == 0 || all_) {
        {
            const std::lock_guard lock(mutex_);
            meters_[index] = std::make_unique<Meter>();
        }
        context_.run();
        return;
    }
    own_index = index;
    std::unique_lock lock(mutex_);
    meters_[index] = std::make_unique<Meter>();
    while (!ended_ && !context_.stopped()) {
        wanted_.wait(lock, [&] { return running_ > index || ended_; });
        ++inside_;
        lock.unlock();
        try {
            context_.run();
        } catch (const Leaving&) {
            // Not needed for now.
        }
        lock.lock();
        --inside_;
    }
}

void WorkerPool::look_later()
{
    timer_.expires_after(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(demand_.pause()));
    timer_.async_wait([this](const boost::system::error_code& code) {
        if (!code) {
            look();
        }
    });
}

void WorkerPool::look()
{
    const auto now = std::chrono::steady_clock::now();
    core::Duration busy{0};
    unsigned inside = 0;
    {
        const std::lock_guard lock(mutex_);
        inside = inside_;
        for (const auto& meter : meters_) {
            if (meter) {
                busy += meter->busy();
            }
        }
    }
    run_from_now_on(demand_.look(busy, now - std::exchange(looked_, now)));
    // Which thread takes such a handler is not ours to choose: what is left over is asked again at the next look.
    for (unsigned extra = running_; extra <= inside; ++extra) {
        boost::asio::post(context_, [this] {
            if (own_index >= running_) {
                throw Leaving();
            }
        });
    }
    look_later();
}

void WorkerPool::run_from_now_on(unsigned count)
{
    if (running_.load() == count) {
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        running_ = count;
    }
    wanted_.notify_all();
}

}  // namespace llmproxy::net
