#include "llmproxy/http/body_reader.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>

namespace llmproxy::http {

BodyReader::BodyReader(net::Stream& stream, net::Buffer& buffer, Framing framing,
                       ChunkDecoder::Extensions extensions)
    : stream_(stream), buffer_(buffer), kind_(framing.kind), remaining_(framing.length),
      decoder_(extensions), done_(framing.kind == Framing::Kind::none ||
                                  (framing.kind == Framing::Kind::length && framing.length == 0))
{
}

core::Result<void> BodyReader::take(std::vector<std::string_view>& runs)
{
    auto bytes = buffer_.data().substr(taken_);
    if (done_ || bytes.empty()) {
        return {};
    }
    switch (kind_) {
    case Framing::Kind::none: break;
    case Framing::Kind::length: {
        const auto count =
            static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
        runs.push_back(bytes.substr(0, count));
        taken_ += count;
        remaining_ -= count;
        done_ = remaining_ == 0;
        break;
    }
    case Framing::Kind::until_close:
        runs.push_back(bytes);
        taken_ += bytes.size();
        break;
    case Framing::Kind::chunked:
        while (!bytes.empty() && !decoder_.done()) {
            auto step = decoder_.next(bytes);
            if (!step) {
                return step.error();
            }
            if (!step->data.empty()) {
                runs.push_back(step->data);
            }
            taken_ += step->consumed;
            bytes.remove_prefix(step->consumed);
        }
        done_ = decoder_.done();
        break;
    }
    return {};
}

void BodyReader::drop() noexcept
{
    buffer_.consume(taken_);
    taken_ = 0;
}

core::Task<net::IoResult<void>> BodyReader::fill()
{
    for (;;) {
        if (!stream_.readable_now()) {
            const auto [failure] = co_await stream_.until_readable();
            if (failure) {
                co_return failure;
            }
        }
        const auto room = buffer_.prepare(buffer_.size() + net::Buffer::kBlock);
        auto got = stream_.try_read(room);
        if (!got) {
            if (got.error() != boost::asio::error::would_block) {
                co_return got.error();
            }
            if (buffer_.empty()) {
                buffer_.release();
            }
            continue;
        }
        if (*got == 0) {
            if (buffer_.empty()) {
                buffer_.release();
            }
            if (kind_ != Framing::Kind::until_close) {
                co_return boost::asio::error::make_error_code(boost::asio::error::eof);
            }
            done_ = true;
        }
        buffer_.commit(*got);
        co_return net::IoResult<void>();
    }
}

}  // namespace llmproxy::http
