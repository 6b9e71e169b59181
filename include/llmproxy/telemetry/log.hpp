#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/secret.hpp"
#include "llmproxy/telemetry/settings.hpp"

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace llmproxy::telemetry {

struct AccessRecord;

/// One fact of a log line: a key and a value. Refers to its texts, so it lives for one statement
/// only.
/// A core::Secret shows as `***`; a duration as milliseconds.
struct Field {
    using Value = std::variant<std::string_view, std::int64_t, double, bool>;

    std::string_view key;  ///< snake_case, literal
    Value value;

    Field(std::string_view name, std::string_view text) : key(name), value(text) {}
    Field(std::string_view name, const std::string& text) : key(name), value(std::string_view(text))
    {
    }
    Field(std::string_view name, const char* text) : key(name), value(std::string_view(text)) {}
    Field(std::string_view name, const core::Secret& secret)
        : key(name), value(std::string_view(secret.empty() ? "" : "***"))
    {
    }
    Field(std::string_view name, core::Duration duration)
        : key(name), value(std::chrono::duration<double, std::milli>(duration).count())
    {
    }
    template <std::same_as<bool> T>
    Field(std::string_view name, T flag) : key(name), value(flag)
    {
    }
    template <std::integral T>
    requires(!std::same_as<T, bool>) Field(std::string_view name, T number)
        : key(name),
          value(std::in_range<std::int64_t>(number) ? static_cast<std::int64_t>(number) : INT64_MAX)
    {
    }
    template <std::floating_point T>
    Field(std::string_view name, T number) : key(name), value(static_cast<double>(number))
    {
    }
};

/// The diagnostics of one module: lines with a message, the request's id and facts as fields.
///
/// A line below the configured level costs one comparison. Others are formatted by the caller
/// (every value escaped) and written by a background thread; when a slow sink leaves 1024 lines
/// waiting, the oldest are lost and counted.
///
/// Thread safety: every member may be called concurrently.
/// Lifetime: made by `log`, lives as long as the program.
class Log {
public:
    using Fields = std::initializer_list<Field>;

    explicit Log(std::string module) : module_(std::move(module)) {}
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    [[nodiscard]] static bool enabled(Level level) noexcept;

    /// \param request_id  of the request concerned, or empty.
    /// \param message     a fixed sentence; what varies goes into `fields`.
    void write(Level level, std::string_view request_id, std::string_view message,
               Fields fields = {}) const
    {
        if (enabled(level)) {
            write_line(level, request_id, message, fields);
        }
    }
    void trace(std::string_view request_id, std::string_view message, Fields fields = {}) const
    {
        write(Level::trace, request_id, message, fields);
    }
    void debug(std::string_view request_id, std::string_view message, Fields fields = {}) const
    {
        write(Level::debug, request_id, message, fields);
    }
    void info(std::string_view request_id, std::string_view message, Fields fields = {}) const
    {
        write(Level::info, request_id, message, fields);
    }
    void warn(std::string_view request_id, std::string_view message, Fields fields = {}) const
    {
        write(Level::warn, request_id, message, fields);
    }
    /// For what someone must act upon.
    void error(std::string_view request_id, std::string_view message, Fields fields = {}) const
    {
        write(Level::error, request_id, message, fields);
    }

    /// A warning about a request: with its id, and the trace's if there is one.
    void warn_about(const AccessRecord& record, std::string_view message, Fields fields = {}) const;

private:
    void write_line(Level level, std::string_view request_id, std::string_view message,
                    Fields fields, std::string_view trace_id = {}) const;

    std::string module_;
};

/// The log of a module; the same object for the same name. Look it up once, outside of hot paths.
[[nodiscard]] Log& log(std::string_view module);

/// Sets level, format and sink of all modules; may be called again at any time.
/// Before the first call lines go to stderr as JSON, level info.
/// Fails when the file cannot be opened; everything then stays as it was.
core::Result<void> configure(const Settings& settings);

/// The least severe lines that are written from now on.
void set_level(Level level) noexcept;

/// Opens the log file again, after a rotation. Fails like `configure`.
core::Result<void> reopen_logs();

/// Waits until the lines written so far are with the system.
void flush_logs();

/// Lines lost because the sink was too slow.
[[nodiscard]] std::uint64_t dropped_log_lines();

}  // namespace llmproxy::telemetry
