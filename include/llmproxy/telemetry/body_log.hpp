#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/secret.hpp"
#include "llmproxy/telemetry/access_record.hpp"
#include "llmproxy/telemetry/settings.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

class BufferedWriter;

/// The beginnings of a request's body and of its reply's, kept while it runs.
/// Thread safety: none; lives with its request.
class LoggedBodies {
public:
    /// \param most  bytes that are shown of each.
    explicit LoggedBodies(std::size_t most) noexcept : most_(most) {}

    void add_request(std::string_view piece) { request_.add(piece, most_); }
    void add_reply(std::span<const std::string_view> pieces)
    {
        for (const auto piece : pieces) {
            reply_.add(piece, most_);
        }
    }
    /// A text that must not be shown, should it stand in a body.
    void hide(core::Secret secret) { secrets_.push_back(std::move(secret)); }

private:
    friend class BodyLog;
    /// More is kept than is shown, so that a secret at the end of what is shown is known whole.
    static constexpr std::size_t kMargin = 1024;
    struct Beginning {
        void add(std::string_view piece, std::size_t most)
        {
            size += piece.size();
            text.append(piece.substr(0, most + kMargin - text.size()));
        }
        std::string text;
        std::uint64_t size = 0;
    };
    std::size_t most_;
    Beginning request_;
    Beginning reply_;
    std::vector<core::Secret> secrets_;
};

/// Masks what looks like a key or credential in a text: words with the prefix of a known kind of
/// key, `Bearer ...`, and the values of JSON members such as `password` or `api_key`, in JSON inside
/// of JSON too.
void hide_credentials(std::string& text);

/// Writes one line of JSON per inference request with its bodies' beginnings, to a file of its own
/// (`logging.bodies`). Whoever switches it on has what users say on the disk.
///
/// Never makes a request wait; thread safety and lifetime as of AccessLog.
class BodyLog {
public:
    /// Opens the file (not when the log is disabled). Fails when it cannot be opened.
    [[nodiscard]] static core::Result<std::unique_ptr<BodyLog>>
    open(const Settings::Bodies& settings);
    BodyLog(const BodyLog&) = delete;
    BodyLog& operator=(const BodyLog&) = delete;
    ~BodyLog();

    void write(const AccessRecord& record, const LoggedBodies& bodies);
    void reopen();
    void flush();
    [[nodiscard]] std::uint64_t dropped() const noexcept;

private:
    explicit BodyLog(std::unique_ptr<BufferedWriter> writer) noexcept;
    std::unique_ptr<BufferedWriter> writer_;
};

}  // namespace llmproxy::telemetry
