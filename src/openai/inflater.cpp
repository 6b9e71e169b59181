#include "llmproxy/openai/inflater.hpp"

#include "llmproxy/core/text.hpp"

#include <array>
#include <zlib.h>

namespace llmproxy::openai {
namespace {

constexpr int kDetectWrapper = 15 + 32;
constexpr int kRaw = -15;

}  // namespace

std::optional<Coding> coding_of(std::string_view content_encoding) noexcept
{
    const auto name = core::trim(content_encoding);
    if (core::iequals(name, "gzip") || core::iequals(name, "x-gzip")) {
        return Coding::gzip;
    }
    return core::iequals(name, "deflate") ? std::optional(Coding::deflate) : std::nullopt;
}

void Inflater::End::operator()(z_stream_s* stream) const noexcept
{
    inflateEnd(stream);
    delete stream;
}

Inflater::Inflater(Coding coding) : stream_(new z_stream_s()), coding_(coding)
{
    failed_ = inflateInit2(stream_.get(), kDetectWrapper) != Z_OK;
}

Inflater::~Inflater() = default;
Inflater::Inflater(Inflater&&) noexcept = default;
Inflater& Inflater::operator=(Inflater&&) noexcept = default;

/// Many servers send `deflate` without the zlib wrapper it should have.
bool Inflater::restart_raw()
{
    raw_ = true;
    return inflateReset2(stream_.get(), kRaw) == Z_OK;
}

bool Inflater::feed(std::string_view piece, std::string& out)
{
    out.clear();
    if (!failed_ && !begun_ && !piece.empty()) {
        begun_ = true;
        // A zlib wrapper begins with method 8 in the low four bits (RFC 1950, section 2.2).
        const auto first = static_cast<unsigned char>(piece.front());
        if (coding_ == Coding::deflate && ((first & 0x0fU) != 8 || (first >> 4U) > 7)) {
            failed_ = !restart_raw();
        }
    }
    auto& stream = *stream_;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = static_cast<uInt>(piece.size());
    std::array<char, 8192> window;
    while (!failed_) {
        stream.next_out = reinterpret_cast<Bytef*>(window.data());
        stream.avail_out = static_cast<uInt>(window.size());
        const int status = inflate(&stream, Z_NO_FLUSH);
        const auto made = window.size() - stream.avail_out;
        given_ += made;
        failed_ = given_ > kMaxOutput;
        if (!failed_) {
            out.append(window.data(), made);
        }
        if (status == Z_STREAM_END && stream.avail_in > 0) {
            failed_ = failed_ || raw_ || inflateReset(&stream) != Z_OK;
        } else if (status == Z_STREAM_END || status == Z_BUF_ERROR) {
            break;
        } else if (status != Z_OK) {
            failed_ = true;
        } else if (stream.avail_in == 0 && stream.avail_out != 0) {
            break;
        }
    }
    return !failed_;
}

}  // namespace llmproxy::openai
