#include "llmproxy/policy/retry_plan.hpp"

#include "llmproxy/policy/retry_budget.hpp"

#include "fixed_random.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;
using enum AttemptEnd;
using Action = RetryDecision::Action;
using Kind = RequestKind;

const core::SystemTime kNow{std::chrono::sys_days(std::chrono::year(2026) / 11 / 21)};

AttemptFacts ended(AttemptEnd end)
{
    AttemptFacts facts;
    facts.end = end;
    facts.bytes_sent = end == no_reply || end == header_timeout;
    return facts;
}

AttemptFacts replied(unsigned status, std::string_view retry_after = {}, std::string_view body = {})
{
    ReplyFacts reply{status, body, {}};
    reply.headers.retry_after = retry_after;
    AttemptFacts facts;
    facts.end = refused;
    facts.bytes_sent = true;
    facts.reply = classify_reply(reply, kNow);
    return facts;
}

/// Where a request could go: `same`, another `key`, another `backend`.
RetryOptions options(std::string_view places)
{
    RetryOptions where;
    where.same_backend = places.find("same") != std::string_view::npos;
    where.other_key = places.find("key") != std::string_view::npos;
    where.other_backend = places.find("backend") != std::string_view::npos;
    where.remaining = 60s;
    return where;
}

/// `pass`, `same+100`, `same+100 fresh`, `key`, `backend`, ... : a decision in a word.
std::string say(const RetryDecision& decision)
{
    std::string text;
    switch (decision.action) {
    case Action::pass_on: return "pass";
    case Action::same_backend: text = "same"; break;
    case Action::other_key: text = "key"; break;
    case Action::other_backend: text = "backend"; break;
    }
    if (decision.action == Action::same_backend || decision.delay != 0ms) {
        text += '+' + std::to_string(decision.delay / 1ms);
    }
    text += decision.fresh_connection ? " fresh" : "";
    text += decision.counts ? "" : " free";
    return text;
}

class RetryPlanTest : public testing::Test {
protected:
    RetryPlan plan(Kind kind = Kind::inference)
    {
        RetryPlan made(kind, settings_, random_);
        made.dispatched();
        return made;
    }

    Settings settings_;
    FixedRandom random_{0.5};
};

TEST_F(RetryPlanTest, DecidesAfterTheFirstAttempt)
{
    struct Row {
        std::string_view what;
        AttemptFacts facts;
        std::string_view alone;     // one backend, one key
        std::string_view two_keys;  // one backend, another key
        std::string_view two;       // another backend, one key
    };
    const Row rows[] = {
        {"connect failed", ended(not_sent), "same+100", "same+100", "backend"},
        {"dead pooled", ended(dead_pooled), "same+0 fresh free", "same+0 fresh free",
         "same+0 fresh free"},
        {"reset", ended(no_reply), "same+100 fresh", "same+100 fresh", "backend fresh"},
        {"header timeout", ended(header_timeout), "pass", "pass", "pass"},
        {"client gone", ended(ended_here), "pass", "pass", "pass"},
        {"400", replied(400), "pass", "pass", "pass"},
        {"401", replied(401), "pass", "key", "backend"},
        {"402", replied(402), "pass", "key", "backend"},
        {"403", replied(403), "pass", "key", "backend"},
        {"401 with a hint", replied(401, "1"), "pass", "key", "backend"},
        {"404", replied(404), "pass", "pass", "pass"},
        {"408", replied(408), "same+100", "same+100", "backend"},
        {"409", replied(409), "pass", "pass", "pass"},
        {"413", replied(413), "pass", "pass", "pass"},
        {"422", replied(422), "pass", "pass", "pass"},
        {"425", replied(425), "pass", "pass", "pass"},
        {"429", replied(429), "same+100", "key", "backend"},
        {"429 zero", replied(429, "0"), "same+100", "key", "backend"},
        {"429 1 s", replied(429, "1"), "same+1000", "key", "backend"},
        {"429 5 s", replied(429, "5"), "same+5000", "key", "backend"},
        {"429 date", replied(429, "Sat, 21 Nov 2026 00:00:04 GMT"), "same+4000", "key", "backend"},
        {"429 6 s", replied(429, "6"), "pass", "key", "backend"},
        {"429 60 s", replied(429, "60"), "pass", "key", "backend"},
        {"quota", replied(429, {}, R"({"error":{"code":"insufficient_quota"}})"), "pass", "pass",
         "pass"},
        {"500", replied(500), "same+100", "same+100", "backend"},
        {"501", replied(501), "pass", "pass", "pass"},
        {"502", replied(502), "same+100", "same+100", "backend"},
        {"503", replied(503), "same+100", "same+100", "backend"},
        {"503 2 s", replied(503, "2"), "same+2000", "same+2000", "backend"},
        {"503 6 s", replied(503, "6"), "pass", "pass", "backend"},
        {"504", replied(504), "same+100", "same+100", "backend"},
        {"520", replied(520), "same+100", "same+100", "backend"},
        {"524", replied(524), "pass", "pass", "pass"},
        {"529", replied(529), "same+100", "same+100", "backend"},
        {"200", replied(200), "pass", "pass", "pass"},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(say(plan().after(row.facts, options("same"))), row.alone) << row.what;
        EXPECT_EQ(say(plan().after(row.facts, options("same key"))), row.two_keys) << row.what;
        EXPECT_EQ(say(plan().after(row.facts, options("same backend"))), row.two) << row.what;
        EXPECT_EQ(say(plan().after(row.facts, options(""))), "pass") << row.what;

        auto relayed = row.facts;
        relayed.bytes_relayed = true;
        EXPECT_EQ(say(plan().after(relayed, options("same key backend"))), "pass") << row.what;
        auto streamed = options("same key backend");
        streamed.replayable = false;
        EXPECT_EQ(say(plan().after(row.facts, streamed)), "pass") << row.what;
        auto late = options("same key backend");
        late.remaining = 0ms;
        EXPECT_EQ(say(plan().after(row.facts, late)), "pass") << row.what;
    }
}

TEST_F(RetryPlanTest, NeverRepeatsOtherRoutesOnceAByteWasWritten)
{
    struct Row {
        std::string_view what;
        AttemptFacts facts;
        std::string_view idempotent;
        std::string_view other;
    };
    const Row rows[] = {
        {"connect failed", ended(not_sent), "same+100", "same+100"},
        {"dead pooled", ended(dead_pooled), "same+0 fresh free", "pass"},
        {"reset", ended(no_reply), "same+100 fresh", "pass"},
        {"503", replied(503), "same+100 fresh", "pass"},
        {"429", replied(429, "2"), "same+2000 fresh", "pass"},
        {"401", replied(401), "pass", "pass"},
        {"404", replied(404), "pass", "pass"},
        {"header timeout", ended(header_timeout), "pass", "pass"},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(say(plan(Kind::idempotent).after(row.facts, options("same"))), row.idempotent)
            << row.what;
        EXPECT_EQ(say(plan(Kind::other).after(row.facts, options("same"))), row.other) << row.what;
    }
}

/// What happens to a request, attempt by attempt: what each came to, where it could go, what is decided.
struct Step {
    AttemptFacts facts;
    std::string_view places;
    std::string_view decision;
};

void walk(RetryPlan& plan, const std::vector<Step>& steps)
{
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto decision = plan.after(steps[i].facts, options(steps[i].places));
        ASSERT_EQ(say(decision), steps[i].decision) << "step " << i;
        if (decision.action != Action::pass_on) {
            plan.dispatched(decision);
        }
    }
}

TEST_F(RetryPlanTest, StopsAfterTheMostRetriesOverAllBackends)
{
    auto same = plan();
    walk(same, {{replied(503), "same", "same+100"},
                {replied(503), "same", "same+200"},
                {replied(503), "same", "same+400"},
                {replied(503), "same backend", "pass"}});
    EXPECT_EQ(same.attempts(), 4U);
    auto moving = plan();
    walk(moving, {{replied(503), "same backend", "backend"},
                  {ended(not_sent), "same backend", "backend"},
                  {replied(429, "1"), "same", "same+1000"},
                  {ended(not_sent), "same backend", "pass"}});
    EXPECT_EQ(moving.attempts(), 4U);
    settings_.max_retries = 0;
    auto none = plan();
    walk(none, {{ended(dead_pooled), "same", "same+0 fresh free"},
                {ended(not_sent), "same backend", "pass"}});
    EXPECT_EQ(none.attempts(), 1U);
}

TEST_F(RetryPlanTest, RepeatsWhatMayHaveBeenDoneOnlyOnce)
{
    auto reset_twice = plan();
    walk(reset_twice, {{ended(no_reply), "same backend", "backend fresh"},
                       {ended(no_reply), "same backend", "pass"}});
    auto reset_then_refused = plan();
    walk(reset_then_refused, {{ended(no_reply), "same", "same+100 fresh"},
                              {replied(503), "same", "same+200"},
                              {ended(no_reply), "same", "pass"}});
    auto dead_twice = plan();
    walk(dead_twice, {{ended(dead_pooled), "same", "same+0 fresh free"},
                      {ended(dead_pooled), "same", "same+100 fresh"},
                      {ended(dead_pooled), "same backend", "pass"}});
    EXPECT_EQ(dead_twice.attempts(), 2U);
    auto get = plan(Kind::idempotent);
    walk(get, {{replied(503), "same", "same+100 fresh"}, {replied(503), "same", "pass"}});
    auto get_reset = plan(Kind::idempotent);
    walk(get_reset, {{ended(no_reply), "same", "same+100 fresh"}, {replied(502), "same", "pass"}});
}

TEST_F(RetryPlanTest, MovesARefusedKeyOncePerBackend)
{
    auto refused_everywhere = plan();
    walk(refused_everywhere, {{replied(401), "same key backend", "key"},
                              {replied(403), "same key backend", "backend"},
                              {replied(401), "same key backend", "key"},
                              {replied(401), "same key backend", "pass"}});
    auto no_more_backends = plan();
    walk(no_more_backends, {{replied(402), "same key", "key"}, {replied(402), "same key", "pass"}});
    auto limited = plan();
    walk(limited, {{replied(429, "3"), "same key", "key"},
                   {replied(429, "3"), "same key", "key"},
                   {replied(429, "3"), "same", "same+3000"},
                   {replied(429, "3"), "same", "pass"}});
    // An open circuit bars the backend's other keys too.
    EXPECT_EQ(say(plan().after(replied(401), options("key backend"))), "backend");
}

TEST_F(RetryPlanTest, LetsKeysRest)
{
    const auto rest = [this](const AttemptFacts& facts, std::string_view places = "same") {
        return plan().after(facts, options(places)).key_rest;
    };
    EXPECT_EQ(rest(replied(429)), 100ms);
    EXPECT_EQ(rest(replied(429, "60")), 60s);
    EXPECT_EQ(rest(replied(429, "60"), ""), 60s);
    EXPECT_EQ(rest(replied(429, {}, R"({"error":{"code":"insufficient_quota"}})")), 60s);
    EXPECT_EQ(rest(replied(401)), 60s);
    EXPECT_EQ(rest(replied(402)), 60s);
    EXPECT_EQ(rest(replied(403, "5")), 5s);
    EXPECT_EQ(rest(replied(503, "5")), std::nullopt);
    EXPECT_EQ(rest(replied(400)), std::nullopt);
    EXPECT_EQ(rest(ended(no_reply)), std::nullopt);
}

TEST_F(RetryPlanTest, WaitsOnlyWithinTheDeadline)
{
    auto where = options("same");
    where.remaining = 2s;
    EXPECT_EQ(say(plan().after(replied(429, "1"), where)), "same+1000");
    EXPECT_EQ(say(plan().after(replied(429, "2"), where)), "pass");
    where.remaining = 100ms;
    EXPECT_EQ(say(plan().after(replied(503), where)), "pass");
    where.other_backend = true;
    EXPECT_EQ(say(plan().after(replied(503), where)), "backend");
}

TEST_F(RetryPlanTest, PaysForEveryAttemptBeyondTheFirstThatSendsBytes)
{
    auto unsent = plan();
    auto decision = unsent.after(ended(not_sent), options("same"));
    EXPECT_FALSE(decision.draws_budget);
    unsent.dispatched(decision);
    decision = unsent.after(replied(503), options("same"));
    EXPECT_TRUE(decision.draws_budget);
    unsent.dispatched(decision);
    // What was paid for was not sent: the next is covered.
    decision = unsent.after(ended(not_sent), options("same"));
    EXPECT_FALSE(decision.draws_budget);
    EXPECT_FALSE(plan().after(ended(dead_pooled), options("same")).draws_budget);
    auto read_by_somebody = ended(dead_pooled);
    read_by_somebody.bytes_sent = true;
    EXPECT_TRUE(plan().after(read_by_somebody, options("same")).draws_budget);
    EXPECT_FALSE(plan().after(replied(400), options("same")).draws_budget);
}

TEST_F(RetryPlanTest, SaysWhatTheClientGetsWhenARetryCannotBeMade)
{
    auto with_reply = plan();
    with_reply.dispatched(with_reply.after(replied(503), options("same")));
    static_cast<void>(with_reply.after(ended(not_sent), options("same")));
    auto without = plan();
    static_cast<void>(without.after(ended(not_sent), options("same")));
    EXPECT_EQ(with_reply.ending(RetryStop::deadline), RetryEnding::last_reply);
    EXPECT_EQ(with_reply.ending(RetryStop::circuit_open), RetryEnding::last_reply);
    EXPECT_EQ(with_reply.ending(RetryStop::budget_empty), RetryEnding::last_reply);
    EXPECT_EQ(with_reply.ending(RetryStop::client_gone), RetryEnding::nothing);
    EXPECT_EQ(without.ending(RetryStop::deadline), RetryEnding::upstream_timeout);
    EXPECT_EQ(without.ending(RetryStop::circuit_open), RetryEnding::circuit_open);
    EXPECT_EQ(without.ending(RetryStop::budget_empty), RetryEnding::last_failure);
    EXPECT_EQ(without.ending(RetryStop::client_gone), RetryEnding::nothing);
}

TEST_F(RetryPlanTest, ForbidsClientRetriesOnlyAfterRetries)
{
    auto request = plan();
    EXPECT_FALSE(request.forbids_client_retry(false));
    request.dispatched(request.after(ended(dead_pooled), options("same")));
    EXPECT_FALSE(request.forbids_client_retry(false));
    request.dispatched(request.after(replied(503), options("same")));
    EXPECT_TRUE(request.forbids_client_retry(false));
    EXPECT_FALSE(request.forbids_client_retry(true));
}

/// 1,000 requests at upstreams that fail in every way, half of the time or always.
TEST_F(RetryPlanTest, KeepsAttemptsWithinTheBudget)
{
    for (const double failing : {0.5, 1.0}) {
        constexpr int kRequests = 1'000;
        EvenRandom chance;
        RetryBudget budget;
        int sent = 0;
        for (int i = 0; i < kRequests; ++i) {
            budget.deposit();
            auto request = plan();
            for (;;) {
                const std::vector<AttemptFacts> kinds{replied(503), replied(429, "1"),
                                                      ended(no_reply), ended(not_sent),
                                                      replied(401)};
                const auto& facts = kinds.at(static_cast<std::size_t>(chance.unit() * 5));
                sent += facts.bytes_sent ? 1 : 0;
                if (chance.unit() >= failing) {
                    sent += facts.bytes_sent ? 0 : 1;
                    break;
                }
                const auto decision = request.after(facts, options("same key backend"));
                if (decision.action == Action::pass_on ||
                    (decision.draws_budget && !budget.try_withdraw())) {
                    break;
                }
                request.dispatched(decision);
            }
            ASSERT_LE(request.attempts(), 4U);
        }
        EXPECT_LE(sent, kRequests * 12 / 10 + 10) << failing;
        EXPECT_GT(sent, kRequests / 2);
    }
}

}  // namespace
}  // namespace llmproxy::policy
