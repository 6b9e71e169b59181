#include "llmproxy/net/pipe_pool.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace llmproxy::net {
namespace {

constexpr std::chrono::seconds kPause{1};

}  // namespace

Pipe::Pipe(Pipe&& other) noexcept
    : held(std::exchange(other.held, 0)), pool_(std::exchange(other.pool_, nullptr)),
      in_(std::exchange(other.in_, -1)), out_(std::exchange(other.out_, -1))
{
}

Pipe& Pipe::operator=(Pipe&& other) noexcept
{
    Pipe taken(std::move(other));
    std::swap(held, taken.held);
    std::swap(pool_, taken.pool_);
    std::swap(in_, taken.in_);
    std::swap(out_, taken.out_);
    return *this;
}

Pipe::~Pipe()
{
    if (pool_ != nullptr) {
        pool_->give_back(*this);
    }
}

PipePool::~PipePool()
{
    for (const auto& [in, out] : idle_) {
        ::close(in);
        ::close(out);
    }
}

PipePool& PipePool::shared()
{
    static PipePool pool;
    return pool;
}

bool PipePool::make(int (&ends)[2]) noexcept
{
    if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        return false;
    }
    if (::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kBytes)) >= static_cast<int>(kBytes)) {
        return true;
    }
    ::close(ends[0]);
    ::close(ends[1]);
    return false;
}

Pipe PipePool::borrow()
{
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            const auto [in, out] = idle_.back();
            idle_.pop_back();
            return {*this, in, out};
        }
        const bool may = alive_ < most_ && (not_before_ == core::SteadyTime{} ||
                                            std::chrono::steady_clock::now() >= not_before_);
        if (!may) {
            return {};
        }
        ++alive_;
    }
    int ends[2] = {-1, -1};
    if (make(ends)) {
        return {*this, ends[1], ends[0]};
    }
    const std::lock_guard lock(mutex_);
    --alive_;
    not_before_ = std::chrono::steady_clock::now() + kPause;
    return {};
}

std::size_t PipePool::size() const
{
    const std::lock_guard lock(mutex_);
    return alive_;
}

void PipePool::give_back(const Pipe& pipe) noexcept
{
    {
        const std::lock_guard lock(mutex_);
        if (pipe.held == 0 && idle_.size() < kept_) {
            if (idle_.capacity() < kept_) {
                idle_.reserve(kept_);
            }
            idle_.emplace_back(pipe.in_, pipe.out_);
            return;
        }
        --alive_;
    }
    ::close(pipe.in_);
    ::close(pipe.out_);
}

}  // namespace llmproxy::net
