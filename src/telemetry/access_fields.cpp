#include "access_fields.hpp"

#include "line_format.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace llmproxy::telemetry {
namespace {

using Type = AccessFieldType;

/// A field's name as part of a type, so that its key is put together by the compiler.
template <std::size_t Size>
struct Name {
    constexpr Name(const char (&literal)[Size]) { std::copy_n(literal, Size, text); }  // NOLINT
    char text[Size]{};                                                                 // NOLINT
};

/// How a key ends: a text's with its opening quote.
enum class Ends : std::uint8_t { colon, quote };

/// `,"name":` or `,"name":"`; of an object's first field with a brace in place of the comma.
template <Name Field, Ends End, char Begin>
struct Key {
    static constexpr std::size_t kName = sizeof(Field.text) - 1;
    constexpr Key()
    {
        text[0] = Begin;
        text[1] = '"';
        std::copy_n(Field.text, kName, text + 2);
        text[kName + 2] = '"';
        text[kName + 3] = ':';
        if (End == Ends::quote) {
            text[kName + 4] = '"';
        }
    }
    char text[kName + (End == Ends::quote ? 6 : 5)]{};  // NOLINT: literals are what a line takes
};
template <Name Field, Ends End = Ends::colon, char Begin = ','>
constexpr Key<Field, End, Begin> kKey{};

/// What a path of member pointers leads to.
template <auto First, auto... Rest, typename Object>
constexpr const auto& value_of(const Object& object) noexcept
{
    if constexpr (sizeof...(Rest) == 0) {
        return object.*First;
    } else {
        return value_of<Rest...>(object.*First);
    }
}

template <typename Record>
struct Row {
    AccessFieldInfo info;
    void (*append)(LineWriter& line, const Record& record);
};

/// \name Rows of the catalogue, by the record they are about, the field's name and the member.
/// @{
enum class When : std::uint8_t { always, if_any };

template <typename Record, Name Field, auto Member, When Shown = When::if_any, char Begin = ','>
constexpr Row<Record> text(std::string_view help)
{
    return {{std::string_view(Field.text), Type::text, Shown == When::always, help},
            [](LineWriter& line, const Record& record) {
                const std::string_view value = record.*Member;
                if (Shown == When::always || !value.empty()) {
                    line.text(kKey<Field, Ends::quote, Begin>.text,
                              value.substr(0, kMostLoggedText));
                }
            }};
}

template <typename Record, Name Field, When Shown, auto... Path>
constexpr Row<Record> number(std::string_view help)
{
    return {{std::string_view(Field.text), Type::integer, Shown == When::always, help},
            [](LineWriter& line, const Record& record) {
                const auto value = value_of<Path...>(record);
                if (Shown == When::always || value != 0) {
                    line.number(kKey<Field>.text, value);
                }
            }};
}

template <typename Record, Name Field, auto... Path>
constexpr Row<Record> milliseconds(std::string_view help, bool always = false)
{
    return {{std::string_view(Field.text), Type::milliseconds, always, help},
            [](LineWriter& line, const Record& record) {
                const auto value = value_of<Path...>(record);
                if (value >= core::Duration::zero()) {
                    line.milliseconds(kKey<Field>.text, value);
                }
            }};
}

template <Name Field, auto Member, When Shown>
constexpr Row<AccessRecord> flag(std::string_view help)
{
    return {{std::string_view(Field.text), Type::boolean, Shown == When::always, help},
            [](LineWriter& line, const AccessRecord& record) {
                if (Shown == When::always || record.*Member) {
                    line.raw(kKey<Field>.text);
                    record.*Member ? line.raw("true") : line.raw("false");
                }
            }};
}

/// Tokens that an upstream reported.
template <Name Field, auto Member, When Shown = When::always>
constexpr Row<AccessRecord> tokens(std::string_view help)
{
    return {{std::string_view(Field.text), Type::integer, false, help},
            [](LineWriter& line, const AccessRecord& record) {
                const auto value = record.usage.*Member;
                if (record.usage.present && (Shown == When::always || value != 0)) {
                    line.number(kKey<Field>.text, value);
                }
            }};
}
/// @}

constexpr std::array kTryRows{
    text<AttemptRecord, "backend", &AttemptRecord::backend, When::always, '{'>("its name"),
    number<AttemptRecord, "key", When::always, &AttemptRecord::key>(
        "index among the backend's keys"),
    text<AttemptRecord, "outcome", &AttemptRecord::outcome, When::always>(
        "`ok`, the class of a refusal (`transient`, `permanent`, `rate_limit`, `auth`, `quota`, "
        "`unknown`), or the code of an error made here"),
    number<AttemptRecord, "status", When::if_any, &AttemptRecord::status>(
        "of the reply, if one came"),
    milliseconds<AttemptRecord, "waited_ms", &AttemptRecord::waited>("before it was sent"),
    text<AttemptRecord, "circuit", &AttemptRecord::circuit>(
        "state of the backend's circuit when it had ended"),
    number<AttemptRecord, "bytes_sent", When::always, &AttemptRecord::bytes_sent>("of the request"),
    milliseconds<AttemptRecord, "duration_ms", &AttemptRecord::duration>("")};

template <const auto& Rows, typename Record>
void append_rows(LineWriter& line, const Record& record)
{
    // Unrolled, the calls are direct: as fast as if each field were written out.
    [&]<std::size_t... Index>(std::index_sequence<Index...>)
    {
        (Rows[Index].append(line, record), ...);
    }
    (std::make_index_sequence<Rows.size()>());
}

void append_time_field(LineWriter& line, const AccessRecord& record)
{
    line.time(kKey<"time", Ends::quote, '{'>.text, record.start);
}

void append_path(LineWriter& line, const AccessRecord& record)
{
    if (const auto path = logged_path(record); !path.empty()) {
        line.text(kKey<"path", Ends::quote>.text, path);
    }
}

void append_tries(LineWriter& line, const AccessRecord& record)
{
    if (record.tries.empty()) {
        return;
    }
    line.raw(kKey<"tries">.text);
    for (const auto& one : record.tries) {
        &one == &record.tries.front() ? line.raw("[") : line.raw(",");
        append_rows<kTryRows>(line, one);
        line.raw("}");
    }
    line.raw("]");
}

void append_trace(LineWriter& line, const AccessRecord& record)
{
    if (record.trace) {
        line.text(kKey<"trace_id", Ends::quote>.text, record.trace->id_text());
    }
}

constexpr std::array kRows{
    Row<AccessRecord>{{"time", Type::time, true,
                       "when the request's head was complete; RFC 3339, UTC, milliseconds"},
                      append_time_field},
    text<AccessRecord, "request_id", &AccessRecord::request_id>(
        "as in the answer's `x-llm-proxy-request-id` and in the diagnostics"),
    Row<AccessRecord>{{"trace_id", Type::text, false,
                       "of the trace that it is part of, while `tracing.endpoint` is set"},
                      append_trace},
    text<AccessRecord, "client", &AccessRecord::client>(
        "address of who called; behind a trusted proxy, the one that it reports"),
    text<AccessRecord, "forwarded_for", &AccessRecord::forwarded_for>(
        "the first `X-Forwarded-For` as received"),
    text<AccessRecord, "listener", &AccessRecord::listener>("the listener's name"),
    text<AccessRecord, "method", &AccessRecord::method>(""),
    text<AccessRecord, "authority", &AccessRecord::authority>("`Host`"),
    Row<AccessRecord>{{"path", Type::text, false, "without query, 2 KiB at most"}, append_path},
    text<AccessRecord, "protocol", &AccessRecord::protocol>("`HTTP/1.1`, `HTTP/1.0`"),
    text<AccessRecord, "user_agent", &AccessRecord::user_agent>(""),
    text<AccessRecord, "route", &AccessRecord::route>("which kind of request it was"),
    text<AccessRecord, "model", &AccessRecord::model>("as the client named it"),
    text<AccessRecord, "served_model", &AccessRecord::served_model>(
        "as the upstream named it in its reply"),
    text<AccessRecord, "project", &AccessRecord::project>(
        "the token's, when it is one of the store"),
    text<AccessRecord, "token", &AccessRecord::token>("the token's name"),
    text<AccessRecord, "backend", &AccessRecord::backend>(
        "name of the backend that answered or failed last"),
    text<AccessRecord, "upstream", &AccessRecord::upstream>(
        "host and port of that backend, as configured"),
    number<AccessRecord, "status", When::always, &AccessRecord::status>(
        "of the answer; 0 when none was written, 499 when the client went away first"),
    text<AccessRecord, "outcome", &AccessRecord::outcome>(
        "`ok`, or the code of the error made here"),
    text<AccessRecord, "error", &AccessRecord::error>(
        "what exactly went wrong; never part of an answer"),
    number<AccessRecord, "attempts", When::always, &AccessRecord::attempts>(
        "attempts at backends, those that found no connection included; the free repeat after a "
        "pooled connection was found dead does not count"),
    Row<AccessRecord>{{"tries", Type::tries, false,
                       "a list of them, free repeats included, if there was more than one"},
                      append_tries},
    number<AccessRecord, "bytes_in", When::always, &AccessRecord::bytes_in>(
        "of the request's body"),
    number<AccessRecord, "bytes_out", When::always, &AccessRecord::bytes_out>(
        "of the answer's body"),
    flag<"stream", &AccessRecord::stream, When::always>(
        "whether the answer was an event stream or a tunnel; when the backend gave none, whether a "
        "stream was asked for"),
    text<AccessRecord, "tunnel", &AccessRecord::tunnel>(
        "how a tunnel ended: `client_closed`, `upstream_closed` (who ended first), `client_reset`, "
        "`upstream_reset`, `idle_timeout`, `drained`; `open` in the lines of "
        "`forward.progress_interval` about one that lasts"),
    tokens<"input_tokens", &TokenUsage::input>(
        "as the upstream reported them, like those that follow; cached ones are in it, whatever "
        "the upstream's own way of counting"),
    tokens<"output_tokens", &TokenUsage::output>(""),
    tokens<"cached_tokens", &TokenUsage::cached>("part of `input_tokens`"),
    tokens<"reasoning_tokens", &TokenUsage::reasoning>("part of `output_tokens`"),
    tokens<"cache_write_tokens", &TokenUsage::cache_write, When::if_any>(
        "part of `input_tokens`, like the next two left out when 0"),
    tokens<"audio_input_tokens", &TokenUsage::audio_input, When::if_any>("part of `input_tokens`"),
    tokens<"audio_output_tokens", &TokenUsage::audio_output, When::if_any>(
        "part of `output_tokens`"),
    text<AccessRecord, "finish_reason", &AccessRecord::finish_reason>(
        "why generation ended, in the upstream's word"),
    milliseconds<AccessRecord, "duration_ms", &AccessRecord::times, &ExchangeTimes::total>(
        "complete head to last byte", true),
    milliseconds<AccessRecord, "first_piece_ms", &AccessRecord::times, &ExchangeTimes::first_piece>(
        "of a stream: from the request's complete head to "
        "the first piece of it that was written"),
    milliseconds<AccessRecord, "upstream_first_byte_ms", &AccessRecord::times,
                 &ExchangeTimes::upstream_first_byte>(
        "request sent to first byte of the upstream's answer"),
    milliseconds<AccessRecord, "proxy_ms", &AccessRecord::times, &ExchangeTimes::proxy>(
        "the proxy's own share"),
    milliseconds<AccessRecord, "queue_ms", &AccessRecord::times, &ExchangeTimes::queue>(
        "waiting for admission"),
    flag<"slow", &AccessRecord::slow, When::if_any>(
        "`true` when it took longer than `logging.slow_request_threshold`: a stream until its "
        "first piece, any other request as a whole; tunnels never do")};

template <typename Record, std::size_t Count>
std::vector<AccessFieldInfo> infos_of(const std::array<Row<Record>, Count>& rows)
{
    std::vector<AccessFieldInfo> infos;
    infos.reserve(Count);
    for (const auto& row : rows) {
        infos.push_back(row.info);
    }
    return infos;
}

void append_row(std::string& table, std::string_view prefix, const AccessFieldInfo& info)
{
    table.append("| `").append(prefix).append(info.name).append("` | ");
    table.append(info.help).append(info.help.empty() ? "|\n" : " |\n");
}

}  // namespace

std::string_view logged_path(const AccessRecord& record) noexcept
{
    const std::string_view path = record.path;
    return path.substr(0, std::min({path.find('?'), path.find('#'), kMostLoggedPath}));
}

void append_json_line(std::string& out, const AccessRecord& record)
{
    LineWriter line(out);
    append_rows<kRows>(line, record);
    line.raw("}\n");
    line.finish();
}

std::span<const AccessFieldInfo> access_fields()
{
    static const auto infos = infos_of(kRows);
    return infos;
}

std::span<const AccessFieldInfo> try_fields()
{
    static const auto infos = infos_of(kTryRows);
    return infos;
}

std::string access_fields_markdown()
{
    std::string table = "| field | meaning |\n|---|---|\n";
    for (const auto& info : access_fields()) {
        append_row(table, "", info);
        if (info.type == AccessFieldType::tries) {
            for (const auto& inner : try_fields()) {
                append_row(table, "tries[].", inner);
            }
        }
    }
    return table;
}

}  // namespace llmproxy::telemetry
