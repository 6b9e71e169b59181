#include "mock_text.hpp"

#include <algorithm>

namespace llmproxy::upstream::mock {
namespace {

bool continues(char byte) noexcept
{
    return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80U;
}

void append_hex(std::string& out, std::uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; --i) {
        out += "0123456789abcdef"[(value >> (4 * i)) & 0xfU];
    }
}

}  // namespace

std::uint64_t hash(std::string_view bytes, std::uint64_t seed) noexcept
{
    for (const char byte : bytes) {
        seed = (seed ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    }
    return seed;
}

std::uint64_t scatter(std::uint64_t seed, std::uint64_t index) noexcept
{
    auto mixed = seed + (index + 1) * 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31U);
}

std::string make_id(std::string_view prefix, std::uint64_t hashed, std::uint64_t sequence)
{
    std::string id(prefix);
    id += "mock";
    append_hex(id, hashed, 16);
    append_hex(id, sequence, 8);
    return id;
}

std::string_view clip(std::string_view text, std::size_t limit) noexcept
{
    if (text.size() <= limit) {
        return text;
    }
    while (limit > 0 && continues(text[limit])) {
        --limit;
    }
    return text.substr(0, limit);
}

std::string filler(std::size_t count)
{
    constexpr std::string_view kText = "The quick brown fox jumps over the lazy dog. ";
    std::string out;
    out.reserve(count);
    while (out.size() < count) {
        out += kText.substr(0, count - out.size());
    }
    return out;
}

Pieces::Pieces(std::string text, std::uint32_t count) : text_(std::move(text))
{
    const std::uint64_t all = characters(text_);
    const auto wanted = std::min<std::uint64_t>(count, all);
    ends_.reserve(wanted);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < text_.size(); ++i) {
        if (continues(text_[i])) {
            continue;
        }
        while (ends_.size() + 1 < wanted && seen == (ends_.size() + 1) * all / wanted) {
            ends_.push_back(i);
        }
        ++seen;
    }
    if (wanted > 0) {
        ends_.push_back(text_.size());
    }
}

std::string_view Pieces::piece(std::uint64_t index) const noexcept
{
    const auto begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(text_).substr(begin, ends_[index] - begin);
}

std::size_t characters(std::string_view text) noexcept
{
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char byte) { return !continues(byte); }));
}

}  // namespace llmproxy::upstream::mock
