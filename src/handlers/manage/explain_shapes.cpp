#include "explain_shapes.hpp"

#include "explain_backends.hpp"
#include "ids.hpp"

namespace llmproxy::handlers::manage {
namespace {

const Shape& refusal_shape()
{
    static const Shape shape{
        "Refusal",
        "The answer that the client would get.",
        {field("status", Kind::integer, "").must(), field("type", Kind::text, "").must(),
         field("code", Kind::text, "").must(), field("message", Kind::text, "").must(),
         field("detail", Kind::text, "What the log would say.").must()}};
    return shape;
}

const Shape& account_shape()
{
    static const Shape shape{"Account",
                             "Whose request it would be.",
                             {field("token", Kind::text, "Its name.").must(),
                              field("token_id", Kind::text, "").must().or_null(),
                              field("project", Kind::text, "Its name.").must(),
                              field("project_id", Kind::text, "").must().or_null()}};
    return shape;
}

const Shape& destination_shape()
{
    static const Shape shape{
        "Destination",
        "Where the forward proxy would go.",
        {field("host", Kind::text, "").must(), field("port", Kind::integer, "").must(),
         field("rule", Kind::text, "`allowed`, or the rule that refuses it.").must()}};
    return shape;
}

const Shape& limit_shape()
{
    static const Shape shape{
        "LimitLeft",
        "A rate limit and what is left of it.",
        {field("of", Kind::text, "").must().one_of({"token", "project"}),
         field("what", Kind::text, "").must().one_of({"requests_per_minute", "tokens_per_minute"}),
         field("limit", Kind::integer, "").must(), field("remaining", Kind::integer, "").must(),
         field("whole_in_ms", Kind::integer, "Until all of it is there again.").must().or_null()}};
    return shape;
}

const Shape& budget_left_shape()
{
    static const Shape shape{
        "BudgetLeft",
        "A budget and what is neither spent nor reserved of it.",
        {field("of", Kind::text, "").must().one_of({"token", "project"}),
         field("period", Kind::text, "").must().one_of({"day", "week", "month", "total"}),
         field("limit_usd", Kind::usd, "").must().or_null(),
         field("left_usd", Kind::usd, "").must().or_null(),
         field("limit_tokens", Kind::integer, "").must().or_null(),
         field("left_tokens", Kind::integer, "").must().or_null()}};
    return shape;
}

}  // namespace

const Shape& question_shape()
{
    static const Shape shape{
        "Question",
        "A request that might be made. Nobody named: a request without a token.",
        {field("token", Kind::text, "The token itself; it is neither kept nor logged.")
             .between(1, 1000),
         token_field("token_id", "In place of the token itself."),
         project_field("project", "A token of this project without rules of its own."),
         field("route", Kind::text,
               "The word that logs have for it, e.g. `embeddings`; `chat_completions`, or "
               "`connect` where there is a host, if not given.")
             .between(1, 64)
             .like("^[a-z_]+$")
             .checked([](std::string_view text) -> std::string_view {
                 constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz_";
                 return text.find_first_not_of(kAllowed) == std::string_view::npos
                            ? ""
                            : "the word that logs have for a route, e.g. files";
             }),
         name_field("model", "As the client would name it."),
         field("host", Kind::text, "Of the forward proxy: `host` or `host:port`.")
             .between(1, 300)}};
    return shape;
}

const Shape& explanation_shape()
{
    static const Shape shape{
        "Explanation",
        "What would become of the request, were it made now.",
        {field("passes", Kind::boolean, "Whether it would be sent to a backend or destination.")
             .must(),
         object("refusal", refusal_shape(), "The first reason against it; null: there is none.")
             .must()
             .or_null(),
         field("route", Kind::text, "").must(),
         object("account", account_shape(), "Null: nobody's.").must().or_null(),
         object("destination", destination_shape(), "Of the forward proxy.").must().or_null(),
         object("candidates", candidate_shape(), "In the order in which they are tried.")
             .must()
             .list(10'000),
         object("limits", limit_shape(), "").must().list(),
         object("budgets", budget_left_shape(), "").must().list()}};
    return shape;
}

}  // namespace llmproxy::handlers::manage
