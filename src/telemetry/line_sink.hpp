#pragma once

#include "llmproxy/core/failure.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace llmproxy::telemetry {

/// Opens a log file for appending (created with mode 0640, close-on-exec). The descriptor is the
/// caller's.
[[nodiscard]] core::Result<int> open_log_file(const std::string& path);

/// Blocks all signals in the calling thread: they are for the program's other threads, and writing
/// to a closed pipe becomes an error code.
void leave_signals_to_others() noexcept;

/// Where whole lines go: stdout, stderr or a file. Used by one thread.
///
/// Copes with short writes, interruption, full pipes (blocking or not) and closed readers.
class LineSink {
public:
    /// Asked while the sink takes nothing; true ends the attempt.
    using GiveUp = std::function<bool()>;

    /// \param path  "stdout", "stderr" or a file.
    [[nodiscard]] static core::Result<LineSink> open(std::string path);
    LineSink(LineSink&& other) noexcept;
    LineSink& operator=(LineSink&&) = delete;
    ~LineSink();

    /// Opens the file again; on failure the open one stays. Does nothing for stdout and stderr.
    [[nodiscard]] core::Result<void> reopen();

    /// Writes whole lines and returns how many of them were lost. `last_error` then tells why.
    [[nodiscard]] std::uint64_t write(std::string_view lines, const GiveUp& give_up);
    [[nodiscard]] int last_error() const noexcept { return last_error_; }

private:
    enum class Kind : std::uint8_t { file, stream, socket };

    LineSink(std::string path, int fd, bool owned);
    void look_at_kind() noexcept;
    std::size_t write_all(std::string_view text, const GiveUp& give_up);
    bool wait_writable(const GiveUp& give_up);

    std::string path_;
    int fd_ = -1;
    bool owned_ = false;
    Kind kind_ = Kind::file;
    bool torn_ = false;  // the last byte written was not the end of a line
    int last_error_ = 0;
};

}  // namespace llmproxy::telemetry
