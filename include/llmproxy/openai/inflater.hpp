#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct z_stream_s;

namespace llmproxy::openai {

/// A content coding that replies are inflated from, for the eyes of the scanners only.
enum class Coding : std::uint8_t { gzip, deflate };

/// The coding a Content-Encoding value names; nothing if it is another, several, or identity.
[[nodiscard]] std::optional<Coding> coding_of(std::string_view content_encoding) noexcept;

/// Inflates a compressed reply piece by piece (RFC 1950 to 1952). Several gzip members may follow each other;
/// `deflate` may come with or without its zlib wrapper. Thread safety: none.
class Inflater {
public:
    /// Bytes given out for one reply; beyond that it stops, so that a bomb costs nothing more.
    static constexpr std::size_t kMaxOutput = std::size_t{8} << 20;

    explicit Inflater(Coding coding);
    ~Inflater();
    Inflater(Inflater&&) noexcept;
    Inflater& operator=(Inflater&&) noexcept;

    /// Replaces `out` with what the piece inflates to. False once the data is broken or too much;
    /// `out` then holds what came before.
    bool feed(std::string_view piece, std::string& out);

private:
    struct End {
        void operator()(z_stream_s* stream) const noexcept;
    };
    bool restart_raw();

    std::unique_ptr<z_stream_s, End> stream_;
    Coding coding_;
    std::size_t given_ = 0;
    bool begun_ = false;
    bool raw_ = false;
    bool failed_ = false;
};

}  // namespace llmproxy::openai
