#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/telemetry/access_record.hpp"
#include "llmproxy/telemetry/settings.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace llmproxy::telemetry {

class BufferedWriter;

/// Writes one line per request to a file, stdout or stderr without ever making a request wait.
///
/// `write` formats into a buffer of the calling thread. One writer thread empties all buffers when
/// the first line is 100 ms old or a buffer holds 64 KiB, and sleeps while there is nothing. When
/// the sink is so slow that a buffer holds 1 MiB, further lines of that thread are dropped and
/// counted; so are lines that the sink refuses. Lines are never torn: after a refused piece the
/// next one starts on a line of its own.
///
/// Thread safety: every member may be called concurrently.
/// Lifetime: destroying it writes what is buffered, waiting at most 2 s for a sink that does not
/// take it.
class AccessLog {
public:
    /// Opens the sink and starts the writer (neither, when the log is disabled).
    /// Fails when the file cannot be opened; the detail names it.
    [[nodiscard]] static core::Result<std::unique_ptr<AccessLog>>
    open(const Settings::AccessLog& settings);

    AccessLog(const AccessLog&) = delete;
    AccessLog& operator=(const AccessLog&) = delete;
    ~AccessLog();

    /// Takes one line, if the record has trouble, was slow or belongs to the sample. Which requests
    /// do follows from their ids, so all lines of one request are written or none.
    /// Does no I/O and waits for nothing.
    void write(const AccessRecord& record);

    /// From now on this share of the lines without trouble is written, from 0 to 1.
    void set_sample(double share) noexcept;

    /// Has the writer open the file again (after a rotation), asynchronously. If that fails, the
    /// open one stays in use and the failure is logged. stdout and stderr stay as they are.
    void reopen();

    /// Waits until all lines taken before the call are with the system or counted as dropped.
    void flush();

    /// Lines lost since the start.
    [[nodiscard]] std::uint64_t dropped() const noexcept;

private:
    AccessLog(std::unique_ptr<BufferedWriter> writer, const Settings::AccessLog& settings) noexcept;
    std::unique_ptr<BufferedWriter> writer_;
    AccessFormat format_;
    std::atomic<std::uint64_t> sampled_below_{0};  // of the hash of an id
};

}  // namespace llmproxy::telemetry
