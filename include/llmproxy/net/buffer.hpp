#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace llmproxy::net {

/// A read buffer that has memory only while bytes are in it or a read is about to happen.
///
/// Blocks of 16 KiB come from a free list of the thread that needs one. Thread safety: none; may move between threads.
/// Invariant: `data()` is contiguous. Views into it stay valid until `prepare` has to grow or move, or `release`.
class Buffer {
public:
    static constexpr std::size_t kBlock = 16 * 1024;

    Buffer() = default;
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();

    [[nodiscard]] std::string_view data() const noexcept
    {
        return {block_.get() + begin_, end_ - begin_};
    }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }

    /// Room for a read: what is left of the block; grows (doubling, up to `limit` bytes in all) when it is full.
    /// Empty when `limit` is reached. Moves bytes to the front only if the tail has no room.
    [[nodiscard]] std::span<char> prepare(std::size_t limit = kBlock);
    /// `count` bytes of the room were filled.
    void commit(std::size_t count) noexcept { end_ += count; }
    /// Forgets the first `count` bytes; an emptied buffer gives its block back.
    void consume(std::size_t count) noexcept;
    /// Forgets everything and gives the block back.
    void release() noexcept;

private:
    struct Free {
        Free() noexcept : capacity(0) {}
        explicit Free(std::size_t bytes) noexcept : capacity(bytes) {}
        std::size_t capacity;
        void operator()(char* block) const noexcept;
    };
    static std::unique_ptr<char, Free> borrow(std::size_t capacity);

    std::unique_ptr<char, Free> block_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace llmproxy::net
