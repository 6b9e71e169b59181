#include "llmproxy/telemetry/log.hpp"

#include "llmproxy/telemetry/access_record.hpp"

#include "line_format.hpp"
#include "line_sink.hpp"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/base_sink.h>

#include <array>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

namespace llmproxy::telemetry {
namespace {

constexpr std::size_t kQueuedLines = 1024;
constexpr std::chrono::seconds kPatience{2};
constexpr std::array<std::string_view, 5> kLevelWords{"trace", "debug", "info", "warn", "error"};

std::atomic<Level> threshold{Level::info};
std::atomic<LogFormat> line_format{LogFormat::json};
std::atomic<bool> ending{false};
std::atomic<std::uint64_t> refused_lines{0};

std::string_view word_of(Level level) noexcept
{
    return kLevelWords.at(static_cast<std::size_t>(level));
}

/// Hands finished lines from spdlog's thread to a LineSink.
class Sink final : public spdlog::sinks::base_sink<std::mutex> {
public:
    explicit Sink(LineSink lines) : lines_(std::make_unique<LineSink>(std::move(lines))) {}

    /// The next line goes to `lines`. Does not wait for a line being written.
    void replace(LineSink lines)
    {
        const std::lock_guard lock(next_mutex_);
        next_ = std::make_unique<LineSink>(std::move(lines));
    }

    std::uint64_t flushes()
    {
        const std::lock_guard lock(flush_mutex_);
        return flushes_;
    }

    void await_flush_after(std::uint64_t count)
    {
        std::unique_lock lock(flush_mutex_);
        flushed_.wait_for(lock, kPatience, [&] { return flushes_ > count; });
    }

protected:
    void sink_it_(const spdlog::details::log_msg& message) override
    {
        take_replacement();
        line_.assign(message.payload.data(), message.payload.size());
        line_ += '\n';
        const auto since = std::chrono::steady_clock::now();
        const auto patience = stuck_ ? std::chrono::seconds(0) : kPatience;
        const auto lost = lines_->write(line_, [since, patience] {
            return ending.load() || std::chrono::steady_clock::now() - since >= patience;
        });
        stuck_ = lost > 0;
        refused_lines.fetch_add(lost, std::memory_order_relaxed);
    }

    void flush_() override
    {
        {
            const std::lock_guard lock(flush_mutex_);
            ++flushes_;
        }
        flushed_.notify_all();
    }

private:
    void take_replacement()
    {
        const std::lock_guard lock(next_mutex_);
        if (next_) {
            lines_ = std::move(next_);
            stuck_ = false;
        }
    }

    std::unique_ptr<LineSink> lines_;
    std::string line_;
    bool stuck_ = false;
    std::mutex next_mutex_;
    std::unique_ptr<LineSink> next_;
    std::mutex flush_mutex_;
    std::condition_variable flushed_;
    std::uint64_t flushes_ = 0;
};

/// The one sink and the registry of modules.
class Logs {
public:
    static Logs& instance()
    {
        static Logs logs;
        return logs;
    }

    ~Logs()
    {
        ending.store(true);
        threads_.reset();  // writes what is queued
    }

    Logs(const Logs&) = delete;
    Logs& operator=(const Logs&) = delete;

    Log& module(std::string_view name)
    {
        const std::lock_guard lock(mutex_);
        const auto found = modules_.find(name);
        if (found != modules_.end()) {
            return *found->second;
        }
        auto made = std::make_unique<Log>(std::string(name));
        return *modules_.emplace(std::string(name), std::move(made)).first->second;
    }

    core::Result<void> open(const std::string& path)
    {
        auto lines = LineSink::open(path);
        if (!lines) {
            return lines.error();
        }
        sink_->replace(std::move(lines).value());
        const std::lock_guard lock(mutex_);
        path_ = path;
        return {};
    }

    core::Result<void> reopen()
    {
        std::string path;
        {
            const std::lock_guard lock(mutex_);
            path = path_;
        }
        return open(path);
    }

    void write(Level level, std::string_view line)
    {
        const spdlog::string_view_t text(line.data(), line.size());
        logger_->log(static_cast<spdlog::level::level_enum>(level), text);
    }

    void flush()
    {
        const auto before = sink_->flushes();
        logger_->flush();
        sink_->await_flush_after(before);
    }

    std::uint64_t dropped() { return threads_->overrun_counter() + refused_lines.load(); }

private:
    Logs() { logger_->set_level(spdlog::level::trace); }

    std::mutex mutex_;
    std::map<std::string, std::unique_ptr<Log>, std::less<>> modules_;
    std::string path_ = "stderr";
    // Sink and logger stay the same for the program's life; a new file changes what the sink writes
    // to.
    std::shared_ptr<Sink> sink_ = std::make_shared<Sink>(LineSink::open("stderr").value());
    std::shared_ptr<spdlog::details::thread_pool> threads_ =
        std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1, leave_signals_to_others);
    std::shared_ptr<spdlog::async_logger> logger_ = std::make_shared<spdlog::async_logger>(
        "llm-proxy", sink_, threads_, spdlog::async_overflow_policy::overrun_oldest);
};

static_assert(static_cast<int>(Level::trace) == static_cast<int>(spdlog::level::trace));
static_assert(static_cast<int>(Level::error) == static_cast<int>(spdlog::level::err));

void append_double(std::string& out, double value)
{
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    std::array<char, 40> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

void append_quoted(std::string& out, std::string_view text)
{
    out += '"';
    append_escaped(out, text);
    out += '"';
}

void append_value(std::string& out, const Field::Value& value)
{
    if (const auto* text = std::get_if<std::string_view>(&value)) {
        append_quoted(out, *text);
    } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
        append_number(out, *number);
    } else if (const auto* real = std::get_if<double>(&value)) {
        append_double(out, *real);
    } else {
        out += std::get<bool>(value) ? "true" : "false";
    }
}

void append_json(std::string& out, std::string_view key, std::string_view text)
{
    out += ",\"";
    out += key;
    out += "\":";
    append_quoted(out, text);
}

struct Line {
    Level level;
    std::string_view module;
    std::string_view request_id;
    std::string_view message;
    Log::Fields fields;
    std::string_view trace_id;
};

void format_json(std::string& out, const Line& line)
{
    out += R"({"time":")";
    append_time(out, std::chrono::system_clock::now());
    out += '"';
    append_json(out, "level", word_of(line.level));
    append_json(out, "module", line.module);
    if (!line.request_id.empty()) {
        append_json(out, "request_id", line.request_id);
    }
    if (!line.trace_id.empty()) {
        append_json(out, "trace_id", line.trace_id);
    }
    append_json(out, "message", line.message);
    for (const auto& field : line.fields) {
        out += ',';
        append_quoted(out, field.key);
        out += ':';
        append_value(out, field.value);
    }
    out += '}';
}

void format_text(std::string& out, const Line& line)
{
    append_time(out, std::chrono::system_clock::now());
    out += ' ';
    out += word_of(line.level);
    out += ' ';
    append_escaped(out, line.module);
    out += ": ";
    append_escaped(out, line.message);
    if (!line.request_id.empty()) {
        out += " request_id=";
        append_quoted(out, line.request_id);
    }
    if (!line.trace_id.empty()) {
        core::append_all(out, " trace_id=", line.trace_id);
    }
    for (const auto& field : line.fields) {
        out += ' ';
        append_escaped(out, field.key);
        out += '=';
        append_value(out, field.value);
    }
}

}  // namespace

bool Log::enabled(Level level) noexcept
{
    return level >= threshold.load(std::memory_order_relaxed);
}

void Log::write_line(Level level, std::string_view request_id, std::string_view message,
                     Fields fields, std::string_view trace_id) const
{
    thread_local std::string text;
    text.clear();
    const Line line{level, module_, request_id, message, fields, trace_id};
    line_format.load(std::memory_order_relaxed) == LogFormat::json ? format_json(text, line)
                                                                   : format_text(text, line);
    Logs::instance().write(level, text);
}

void Log::warn_about(const AccessRecord& record, std::string_view message, Fields fields) const
{
    if (!enabled(Level::warn)) {
        return;
    }
    write_line(Level::warn, record.request_id, message, fields,
               record.trace ? record.trace->id_text() : std::string());
}

Log& log(std::string_view module)
{
    return Logs::instance().module(module);
}

core::Result<void> configure(const Settings& settings)
{
    auto opened = Logs::instance().open(settings.path);
    if (opened) {
        threshold.store(settings.level);
        line_format.store(settings.format);
    }
    return opened;
}

void set_level(Level level) noexcept
{
    threshold.store(level);
}

core::Result<void> reopen_logs()
{
    return Logs::instance().reopen();
}

void flush_logs()
{
    Logs::instance().flush();
}

std::uint64_t dropped_log_lines()
{
    return Logs::instance().dropped();
}

}  // namespace llmproxy::telemetry
