#include "llmproxy/net/buffer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace llmproxy::net {
namespace {

constexpr std::size_t kKept = 64;  // free blocks a thread keeps: 1 MiB

struct FreeList {
    std::vector<char*> blocks;
    ~FreeList()
    {
        for (char* block : blocks) {
            ::operator delete(block);
        }
    }
};

FreeList& free_list()
{
    thread_local FreeList list;
    return list;
}

}  // namespace

void Buffer::Free::operator()(char* block) const noexcept
{
    auto& list = free_list().blocks;
    if (capacity == kBlock && list.size() < kKept) {
        if (list.capacity() == 0) {
            list.reserve(kKept);
        }
        list.push_back(block);
        return;
    }
    ::operator delete(block);
}

std::unique_ptr<char, Buffer::Free> Buffer::borrow(std::size_t capacity)
{
    auto& list = free_list().blocks;
    if (capacity == kBlock && !list.empty()) {
        char* block = list.back();
        list.pop_back();
        return {block, Free(capacity)};
    }
    return {static_cast<char*>(::operator new(capacity)), Free(capacity)};
}

Buffer::Buffer(Buffer&& other) noexcept
    : block_(std::move(other.block_)), begin_(std::exchange(other.begin_, 0)),
      end_(std::exchange(other.end_, 0))
{
}

Buffer& Buffer::operator=(Buffer&& other) noexcept
{
    block_ = std::move(other.block_);
    begin_ = std::exchange(other.begin_, 0);
    end_ = std::exchange(other.end_, 0);
    return *this;
}

Buffer::~Buffer() = default;

std::span<char> Buffer::prepare(std::size_t limit)
{
    if (!block_) {
        block_ = borrow(kBlock);
        begin_ = end_ = 0;
    }
    const auto capacity = block_.get_deleter().capacity;
    const bool roomy = begin_ == 0 ? end_ < capacity : capacity - end_ >= capacity / 4;
    if (roomy) {
        return {block_.get() + end_,
                std::min(capacity - end_, limit > size() ? limit - size() : 0)};
    }
    const auto held = size();
    if (begin_ > 0) {
        std::memmove(block_.get(), block_.get() + begin_, held);
    } else {
        if (capacity >= limit) {
            return {};
        }
        auto larger = borrow(std::min(capacity * 2, limit));
        std::memcpy(larger.get(), block_.get(), held);
        block_ = std::move(larger);
    }
    begin_ = 0;
    end_ = held;
    const auto room = block_.get_deleter().capacity - end_;
    return {block_.get() + end_, std::min(room, limit > held ? limit - held : 0)};
}

void Buffer::consume(std::size_t count) noexcept
{
    begin_ += std::min(count, size());
    if (empty()) {
        release();
    }
}

void Buffer::release() noexcept
{
    block_.reset();
    begin_ = end_ = 0;
}

}  // namespace llmproxy::net
