#include "llmproxy/policy/reply_classifier.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace policy = llmproxy::policy;

namespace {

void check(const policy::ReplyVerdict& verdict)
{
    const auto& after = verdict.retry_after;
    if (after && (*after < llmproxy::core::Duration(0) || *after > policy::kLongestHint)) {
        std::abort();
    }
    const bool again = verdict.permission != policy::RetryPermission::never;
    if (again && verdict.reply_class == policy::ReplyClass::permanent) {
        std::abort();
    }
}

}  // namespace

/// Bodies, frames and header values that no provider would send: hints stay in bounds, what may be sent again follows
/// from the status, and a body never makes a refused request one that is sent again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const llmproxy::core::SystemTime now(std::chrono::seconds(1'700'000'000));
    const auto line = input.substr(0, input.find('\n'));
    const policy::RetryHeaders headers{line, line, line, line, line, line, line};
    const policy::RetryHeaders date{{}, line, {}, {}, {}, {}, {}};
    for (const unsigned status :
         {200U, 400U, 401U, 402U, 403U, 408U, 418U, 429U, 503U, 524U, 599U}) {
        const auto bare = policy::classify_reply({status, {}, {}}, now);
        for (const auto& fields : {headers, date}) {
            const auto verdict = policy::classify_reply({status, input, fields}, now);
            check(verdict);
            const bool widened = verdict.permission != bare.permission &&
                                 verdict.permission != policy::RetryPermission::never;
            if (widened || verdict.cools_key != bare.cools_key || verdict.status != status) {
                std::abort();
            }
        }
    }
    if (const auto verdict = policy::classify_frame(input, headers, now)) {
        check(*verdict);
    }
    return 0;
}
