#include "llmproxy/net/stream.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <openssl/err.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kRecord = 16 * 1024;
constexpr std::size_t kMaxPieces = 64;

error_code errno_code() noexcept
{
    return {errno, boost::system::system_category()};
}

}  // namespace

core::Task<IoResult<void>> Stream::write(std::string_view piece)
{
    const std::array<std::string_view, 1> pieces{piece};
    co_return co_await write(std::span<const std::string_view>(pieces));
}

core::Task<IoResult<void>> Stream::write(std::span<const std::string_view> pieces, std::size_t done)
{
    std::size_t total = 0;
    for (const auto piece : pieces) {
        total += piece.size();
    }
    for (;;) {
        const auto sent = try_write(pieces, done);
        if (!sent) {
            co_return sent.error();
        }
        done += *sent;
        if (done >= total) {
            co_return IoResult<void>();
        }
        const auto [failure] = co_await wait(ssl_ && SSL_want_read(ssl_.get()) == 1);
        if (failure) {
            broken_ = broken_ || ssl_;
            co_return failure;
        }
    }
}

IoResult<std::size_t> Stream::try_write(std::span<const std::string_view> pieces, std::size_t done)
{
    return ssl_ ? write_tls(pieces, done) : write_plain(pieces, done);
}

IoResult<std::size_t> Stream::write_plain(std::span<const std::string_view> pieces,
                                          std::size_t done)
{
    std::size_t sent = 0;
    for (;;) {
        std::array<iovec, kMaxPieces> vectors;
        std::size_t used = 0;
        std::size_t wanted = 0;
        std::size_t skip = done + sent;
        for (std::size_t i = 0; i < pieces.size() && used < kMaxPieces; ++i) {
            if (skip >= pieces[i].size()) {
                skip -= pieces[i].size();
                continue;
            }
            const auto rest = pieces[i].substr(std::exchange(skip, 0));
            vectors[used].iov_base = const_cast<char*>(rest.data());
            vectors[used].iov_len = rest.size();
            wanted += rest.size();
            ++used;
        }
        if (used == 0) {
            return sent;
        }
        msghdr message{};
        message.msg_iov = vectors.data();
        message.msg_iovlen = used;
        const auto count =
            ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EAGAIN ? IoResult<std::size_t>(sent) : errno_code();
        }
        sent += static_cast<std::size_t>(count);
        if (static_cast<std::size_t>(count) < wanted) {
            return sent;
        }
    }
}

IoResult<std::size_t> Stream::write_tls(std::span<const std::string_view> pieces, std::size_t done)
{
    // One flattened record per SSL_write. A retry flattens the same bytes again, so nothing is held while waiting.
    thread_local std::array<char, kRecord> record;
    std::size_t total = 0;
    for (;;) {
        if (broken_) {
            return error_code(asio::error::not_connected);
        }
        std::size_t filled = 0;
        std::size_t skip = done + total;
        for (std::size_t i = 0; i < pieces.size() && filled < kRecord; ++i) {
            if (skip >= pieces[i].size()) {
                skip -= pieces[i].size();
                continue;
            }
            const auto rest = pieces[i].substr(std::exchange(skip, 0));
            const auto take = std::min(rest.size(), kRecord - filled);
            std::copy_n(rest.data(), take, record.data() + filled);
            filled += take;
        }
        if (filled == 0) {
            return total;
        }
        ERR_clear_error();
        errno = 0;
        std::size_t sent = 0;
        const int returned = SSL_write_ex(ssl_.get(), record.data(), filled, &sent);
        if (returned != 1) {
            const auto code = ssl_failure(returned);
            return code == asio::error::would_block ? IoResult<std::size_t>(total) : code;
        }
        total += sent;
    }
}

}  // namespace llmproxy::net
