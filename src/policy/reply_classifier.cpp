#include "llmproxy/policy/reply_classifier.hpp"

#include "error_body.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <string>

namespace llmproxy::policy {
namespace {

/// What a provider's word for an error means: the status that goes with it, and its class.
struct Meaning {
    std::string_view name;
    unsigned status;
    ReplyClass reply_class;
};

using enum ReplyClass;

constexpr std::array kNames{
    Meaning{"insufficient_quota", 429, quota},
    Meaning{"insufficientquota", 429, quota},
    Meaning{"billing_hard_limit_reached", 429, quota},
    Meaning{"billing_not_active", 429, quota},
    Meaning{"billing_error", 402, quota},
    Meaning{"payment_required", 402, quota},
    Meaning{"insufficient_balance", 402, quota},

    Meaning{"rate_limit_error", 429, rate_limit},
    Meaning{"rate_limit_exceeded", 429, rate_limit},
    Meaning{"rate_limited", 429, rate_limit},
    Meaning{"rate_limit", 429, rate_limit},
    Meaning{"ratelimitreached", 429, rate_limit},
    Meaning{"ratelimiterror", 429, rate_limit},
    Meaning{"ratelimitexceeded", 429, rate_limit},
    Meaning{"resource_exhausted", 429, rate_limit},
    Meaning{"too_many_requests", 429, rate_limit},
    Meaning{"toomanyrequests", 429, rate_limit},
    Meaning{"throttlingexception", 429, rate_limit},
    Meaning{"requests", 429, rate_limit},
    Meaning{"tokens", 429, rate_limit},

    Meaning{"overloaded_error", 529, transient},
    Meaning{"overloaded", 529, transient},
    Meaning{"server_overloaded", 503, transient},
    Meaning{"engine_overloaded", 503, transient},
    Meaning{"unavailable", 503, transient},
    Meaning{"unavailable_error", 503, transient},
    Meaning{"service_unavailable", 503, transient},
    Meaning{"service_unavailable_error", 503, transient},
    Meaning{"serviceunavailable", 503, transient},
    Meaning{"api_error", 500, transient},
    Meaning{"server_error", 500, transient},
    Meaning{"internal", 500, transient},
    Meaning{"internal_error", 500, transient},
    Meaning{"internal_server_error", 500, transient},
    Meaning{"internal server error", 500, transient},
    Meaning{"internalservererror", 500, transient},
    Meaning{"timeout_error", 504, transient},
    Meaning{"deadline_exceeded", 504, transient},

    Meaning{"invalid_api_key", 401, auth},
    Meaning{"api_key_invalid", 401, auth},
    Meaning{"authentication_error", 401, auth},
    Meaning{"unauthenticated", 401, auth},
    Meaning{"unauthorized", 401, auth},
    Meaning{"permission_error", 403, auth},
    Meaning{"permission_denied", 403, auth},

    Meaning{"invalid_request_error", 400, permanent},
    Meaning{"badrequesterror", 400, permanent},
    Meaning{"bad_request", 400, permanent},
    Meaning{"invalid_argument", 400, permanent},
    Meaning{"failed_precondition", 400, permanent},
    Meaning{"context_length_exceeded", 400, permanent},
    Meaning{"exceed_context_size_error", 400, permanent},
    Meaning{"content_filter", 400, permanent},
    Meaning{"content_policy_violation", 400, permanent},
    Meaning{"not_found_error", 404, permanent},
    Meaning{"notfounderror", 404, permanent},
    Meaning{"not_found", 404, permanent},
    Meaning{"model_not_found", 404, permanent},
    Meaning{"deploymentnotfound", 404, permanent},
    Meaning{"request_too_large", 413, permanent},
    Meaning{"not_supported_error", 501, permanent},
};

/// Words in bodies that name nothing, e.g. pages of a front end. The first that is there counts.
constexpr std::array kWords{
    Meaning{"insufficient_quota", 429, quota}, Meaning{"invalid_api_key", 401, auth},
    Meaning{"invalid api key", 401, auth},     Meaning{"rate_limit", 429, rate_limit},
    Meaning{"rate limit", 429, rate_limit},    Meaning{"too many requests", 429, rate_limit},
    Meaning{"overloaded", 529, transient},
};

const Meaning* meaning_of_names(const ErrorBody& body) noexcept
{
    const Meaning* best = nullptr;
    for (const auto& name : body.names) {
        const auto* const found = std::find_if(
            kNames.begin(), kNames.end(), [&](const Meaning& one) { return one.name == name; });
        if (found == kNames.end()) {
            continue;
        }
        if (found->reply_class == quota) {
            return found;
        }
        best = best == nullptr ? found : best;
    }
    return best;
}

const Meaning* meaning_of_words(std::string_view text) noexcept
{
    const auto same = [](char a, char b) { return core::lower(a) == b; };
    for (const auto& word : kWords) {
        if (std::search(text.begin(), text.end(), word.name.begin(), word.name.end(), same) !=
            text.end()) {
            return &word;
        }
    }
    return nullptr;
}

bool is_transient(unsigned status) noexcept
{
    switch (status) {
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
    case 529: return true;
    default: return status >= 520 && status <= 527;
    }
}

bool rejects_key(unsigned status) noexcept
{
    return status >= 401 && status <= 403;
}

ReplyVerdict by_status(unsigned status) noexcept
{
    using enum RetryPermission;
    ReplyVerdict verdict{unknown, never, status, std::nullopt,
                         rejects_key(status) || status == 429};
    if (status == 429) {
        verdict.reply_class = rate_limit;
        verdict.permission = anywhere;
    } else if (rejects_key(status)) {
        verdict.reply_class = status == 402 ? quota : auth;
        verdict.permission = other_key;
    } else if (is_transient(status)) {
        verdict.reply_class = transient;
        // 524: the upstream has the request and may still be at it, like a header timeout here.
        verdict.permission = status == 524 ? never : anywhere;
    } else if (status >= 500) {
        verdict.reply_class = permanent;
    } else {
        switch (status) {
        case 400:
        case 404:
        case 405:
        case 406:
        case 409:
        case 410:
        case 411:
        case 413:
        case 414:
        case 415:
        case 422:
        case 425:
        case 431:
        case 451: verdict.reply_class = permanent; break;
        default: break;
        }
    }
    return verdict;
}

/// What the words add to what the status said.
void refine(ReplyVerdict& verdict, const Meaning& meaning) noexcept
{
    const bool key_rejected = rejects_key(verdict.status);
    if (meaning.reply_class == quota) {
        verdict.reply_class = quota;
        if (!key_rejected) {
            verdict.permission = RetryPermission::never;
        }
        return;
    }
    const bool permanent_here = verdict.reply_class == permanent;
    const bool trouble = verdict.status >= 500;
    const bool may_refine = verdict.reply_class == unknown ||
                            (key_rejected && meaning.reply_class == rate_limit) ||
                            (permanent_here && !trouble && meaning.reply_class == auth) ||
                            (verdict.reply_class == transient && meaning.reply_class == rate_limit);
    if (may_refine) {
        verdict.reply_class = meaning.reply_class;
    }
}

void find_hint(ReplyVerdict& verdict, const RetryHeaders& headers, const std::string& retry_delay,
               core::SystemTime now) noexcept
{
    verdict.retry_after = retry_after_hint(headers, verdict.reply_class == rate_limit, now);
    if (!verdict.retry_after) {
        verdict.retry_after = parse_reset_duration(retry_delay);
    }
}

ReplyVerdict classify_texts(const ReplyFacts& facts, core::SystemTime now)
{
    auto verdict = by_status(facts.status);
    const auto text = facts.body.substr(0, kMaxClassifiedBody);
    const auto body = read_error_body(text);
    const auto* const named = meaning_of_names(body);
    // Words of a permanent error are mostly the client's own, repeated.
    const bool may_read = verdict.reply_class != permanent;
    if (const auto* const meaning = named == nullptr && may_read ? meaning_of_words(text) : named) {
        refine(verdict, *meaning);
    }
    find_hint(verdict, facts.headers, body.retry_delay, now);
    return verdict;
}

/// The fields of an event that tell an error.
struct Frame {
    bool error_event = false;
    std::string data;
};

Frame read_frame(std::string_view block)
{
    Frame frame;
    while (!block.empty()) {
        const auto end = std::min(block.find_first_of("\r\n"), block.size());
        const auto line = block.substr(0, end);
        block.remove_prefix(std::min(end + 1, block.size()));
        const auto colon = std::min(line.find(':'), line.size());
        const auto name = line.substr(0, colon);
        const auto value = core::trim(line.substr(std::min(colon + 1, line.size())));
        if (name == "event") {
            frame.error_event = value == "error";
        } else if (name == "data" || name == "error") {
            frame.error_event = frame.error_event || name == "error";
            frame.data += frame.data.empty() ? "" : "\n";
            frame.data += value;
        }
    }
    return frame;
}

std::optional<ReplyVerdict> classify_error_frame(std::string_view block,
                                                 const RetryHeaders& headers, core::SystemTime now)
{
    block = block.substr(0, kMaxClassifiedBody);
    constexpr auto kNone = std::string_view::npos;
    // Every stream's first block comes here, and next to none has either word.
    if (block.find("error") == kNone && block.find("response.failed") == kNone) {
        return std::nullopt;
    }
    const auto frame = read_frame(block);
    const auto body = read_error_body(frame.data);
    if (!frame.error_event && !body.is_error) {
        return std::nullopt;
    }
    const auto* const named = meaning_of_names(body);
    const auto* const meaning = named == nullptr ? meaning_of_words(frame.data) : named;
    const auto meant = meaning != nullptr ? meaning->status : 0;
    const auto status = body.status != 0 ? body.status : meant;
    auto verdict = by_status(status);
    if (status == 0) {
        verdict.permission = RetryPermission::anywhere;
    } else if (meaning != nullptr) {
        refine(verdict, *meaning);
    }
    verdict.cools_key = verdict.cools_key && (body.status != 0 || named != nullptr);
    find_hint(verdict, headers, body.retry_delay, now);
    return verdict;
}

}  // namespace

ReplyVerdict classify_reply(const ReplyFacts& facts, core::SystemTime now) noexcept
{
    if (facts.status < 400) {
        return ReplyVerdict{unknown, RetryPermission::never, facts.status, std::nullopt, false};
    }
    try {
        return classify_texts(facts, now);
    } catch (const std::exception&) {
        // No memory for the body's names: the status alone still says what may be done.
        auto verdict = by_status(facts.status);
        find_hint(verdict, facts.headers, {}, now);
        return verdict;
    }
}

std::optional<ReplyVerdict> classify_frame(std::string_view block, const RetryHeaders& headers,
                                           core::SystemTime now) noexcept
{
    try {
        return classify_error_frame(block, headers, now);
    } catch (const std::exception&) {
        return std::nullopt;  // no memory to look: the frame is relayed like any other
    }
}

std::string_view to_string(ReplyClass reply_class) noexcept
{
    switch (reply_class) {
    case transient: return "transient";
    case permanent: return "permanent";
    case rate_limit: return "rate_limit";
    case auth: return "auth";
    case quota: return "quota";
    case unknown: break;
    }
    return "unknown";
}

}  // namespace llmproxy::policy
