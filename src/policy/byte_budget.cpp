#include "llmproxy/policy/byte_budget.hpp"

#include <atomic>
#include <utility>

namespace llmproxy::policy {

struct ByteBudget::Counter {
    explicit Counter(std::uint64_t most) noexcept : limit(most) {}
    std::atomic<std::uint64_t> limit;
    std::atomic<std::uint64_t> used{0};
};

ByteBudget::Hold::Hold(std::shared_ptr<Counter> counter) noexcept : counter_(std::move(counter)) {}

ByteBudget::Hold::Hold(Hold&& other) noexcept
    : counter_(std::move(other.counter_)), bytes_(std::exchange(other.bytes_, 0))
{
}

ByteBudget::Hold& ByteBudget::Hold::operator=(Hold&& other) noexcept
{
    if (this != &other) {
        release();
        counter_ = std::move(other.counter_);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

ByteBudget::Hold::~Hold()
{
    release();
}

bool ByteBudget::Hold::grow(std::uint64_t bytes) noexcept
{
    if (!counter_) {
        return false;
    }
    const auto limit = counter_->limit.load(std::memory_order_relaxed);
    auto used = counter_->used.load(std::memory_order_relaxed);
    do {
        if (used > limit || bytes > limit - used) {
            return false;
        }
    } while (!counter_->used.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    bytes_ += bytes;
    return true;
}

void ByteBudget::Hold::release() noexcept
{
    if (const auto bytes = std::exchange(bytes_, 0); bytes != 0) {
        counter_->used.fetch_sub(bytes, std::memory_order_relaxed);
    }
}

ByteBudget::ByteBudget(std::uint64_t limit) : counter_(std::make_shared<Counter>(limit)) {}

ByteBudget::Hold ByteBudget::hold() const noexcept
{
    return Hold(counter_);
}

void ByteBudget::set_limit(std::uint64_t limit) noexcept
{
    counter_->limit.store(limit, std::memory_order_relaxed);
}

std::uint64_t ByteBudget::used() const noexcept
{
    return counter_->used.load(std::memory_order_relaxed);
}

}  // namespace llmproxy::policy
