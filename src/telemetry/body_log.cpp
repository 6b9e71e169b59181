#include "llmproxy/telemetry/body_log.hpp"

#include "access_fields.hpp"
#include "buffered_writer.hpp"
#include "line_format.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr std::string_view kMask = "***";
constexpr std::size_t kLeastKey = 8;  // characters behind the prefix of a key

// Of OpenAI and Anthropic, this program, GitHub, Hugging Face, Google, AWS, Slack, GitLab; JSON Web
// Tokens.
constexpr std::array<std::string_view, 14> kPrefixes{
    "sk-",  "llmp_", "ghp_",  "gho_",   "github_pat_", "hf_",     "AIza",
    "AKIA", "xoxb-", "xoxp-", "glpat-", "eyJ",         "Bearer ", "bearer "};
constexpr std::array<std::string_view, 11> kMembers{
    "api_key",      "apikey",        "api-key",       "x-api-key", "authorization", "password",
    "access_token", "client_secret", "refresh_token", "secret",    "private_key"};

bool is_key_character(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

std::size_t end_of_key(std::string_view text, std::size_t at) noexcept
{
    while (at < text.size() && is_key_character(text[at])) {
        ++at;
    }
    return at;
}

/// Where the key ends that begins at `at`; `at` itself if none does.
std::size_t key_at(std::string_view text, std::size_t at) noexcept
{
    if (at > 0 && (is_key_character(text[at - 1]) && text[at - 1] != '=' && text[at - 1] != '/')) {
        return at;  // in the middle of a word
    }
    for (const auto prefix : kPrefixes) {
        if (text.substr(at).starts_with(prefix)) {
            const auto begin = at + prefix.size();
            const auto end = end_of_key(text, begin);
            return end - begin >= kLeastKey ? end : at;
        }
    }
    return at;
}

/// The value of the member whose name's opening quote is at `at`, from and to; empty if it is none
/// of kMembers. Quotes may be escaped: JSON inside of JSON.
std::pair<std::size_t, std::size_t> value_at(std::string_view text, std::size_t at) noexcept
{
    const auto rest = text.substr(at + 1);
    for (const auto member : kMembers) {
        if (!core::iequals(rest.substr(0, member.size()), member)) {
            continue;
        }
        auto begin = at + 1 + member.size();
        const auto skip = [&](std::string_view what) {
            const auto from = begin;
            while (begin < text.size() && what.find(text[begin]) != std::string_view::npos) {
                ++begin;
            }
            return begin != from;
        };
        if (skip("\\\"") && (skip(" \t\r\n"), skip(":")) && (skip(" \t\r\n"), skip("\\\""))) {
            const auto end = std::min(text.find_first_of("\"\\", begin), text.size());
            return {begin, end};
        }
    }
    return {0, 0};
}

void append_text(std::string& out, std::string_view key, std::string_view value)
{
    out += key;
    append_escaped(out, value);
    out += '"';
}

/// What is shown of a body, and how long it is.
void append_body(std::string& out, std::string_view name, std::string text, std::uint64_t size,
                 std::size_t most, const std::vector<core::Secret>& secrets)
{
    for (const auto& secret : secrets) {
        const auto& hidden = secret.reveal();
        for (auto at = text.find(hidden); !hidden.empty() && at != std::string::npos;
             at = text.find(hidden, at + kMask.size())) {
            text.replace(at, hidden.size(), kMask);
        }
    }
    hide_credentials(text);
    text.resize(std::min(text.size(), most));
    core::append_all(out, ",\"", name, "\":\"");
    append_escaped(out, text);
    core::append_all(out, "\",\"", name, "_bytes\":");
    append_number(out, size);
}

}  // namespace

void hide_credentials(std::string& text)
{
    std::string out;
    std::size_t kept = 0;  // what of `text` is in `out` already
    for (std::size_t at = 0; at < text.size();) {
        auto from = at;
        auto to = key_at(text, at);
        if (to == at && text[at] == '"') {
            std::tie(from, to) = value_at(text, at);
        }
        if (to <= from) {
            ++at;
            continue;
        }
        out.append(text, kept, from - kept).append(kMask);
        kept = at = to;
    }
    if (kept != 0) {
        text = out.append(text, kept);
    }
}

BodyLog::BodyLog(std::unique_ptr<BufferedWriter> writer) noexcept : writer_(std::move(writer)) {}

BodyLog::~BodyLog() = default;

core::Result<std::unique_ptr<BodyLog>> BodyLog::open(const Settings::Bodies& settings)
{
    std::unique_ptr<BufferedWriter> writer;
    if (settings.enabled) {
        auto sink = LineSink::open(settings.path);
        if (!sink) {
            return sink.error();
        }
        writer = std::make_unique<BufferedWriter>(std::move(sink).value(), "body_log");
    }
    return std::unique_ptr<BodyLog>(new BodyLog(std::move(writer)));
}

void BodyLog::write(const AccessRecord& record, const LoggedBodies& bodies)
{
    if (!writer_) {
        return;
    }
    writer_->write([&](std::string& out) {
        out += R"({"time":")";
        append_time(out, record.start);
        out += '"';
        append_text(out, R"(,"request_id":")", record.request_id);
        append_text(out, R"(,"route":")", record.route);
        append_text(out, R"(,"model":")",
                    std::string_view(record.model).substr(0, kMostLoggedText));
        append_text(out, R"(,"backend":")", record.backend);
        out += R"(,"status":)";
        append_number(out, record.status);
        append_body(out, "request", bodies.request_.text, bodies.request_.size, bodies.most_,
                    bodies.secrets_);
        append_body(out, "reply", bodies.reply_.text, bodies.reply_.size, bodies.most_,
                    bodies.secrets_);
        out += "}\n";
    });
}

void BodyLog::reopen()
{
    if (writer_) {
        writer_->reopen();
    }
}

void BodyLog::flush()
{
    if (writer_) {
        writer_->flush();
    }
}

std::uint64_t BodyLog::dropped() const noexcept
{
    return writer_ ? writer_->dropped() : 0;
}

}  // namespace llmproxy::telemetry
