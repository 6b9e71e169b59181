#include "audit.hpp"
#include "ids.hpp"
#include "llmproxy/core/time_text.hpp"
#include "paging.hpp"
#include "route.hpp"

namespace llmproxy::handlers::manage {
namespace {

using BackendPointer = std::shared_ptr<upstream::Backend>;

const Shape& transition_shape()
{
    static const Shape shape{
        "CircuitTransition",
        "A change of a circuit's state.",
        {field("time", Kind::time, "").must(), field("from", Kind::text, "").must(),
         field("to", Kind::text, "").must(),
         field("cause", Kind::text, "Why, e.g. `failures` or `operator_opened`.").must()}};
    return shape;
}

const Shape& circuit_shape()
{
    static const Shape shape{
        "Circuit",
        "What keeps requests away from a backend that fails.",
        {field("state", Kind::text, "").must().one_of({"closed", "open", "half_open"}),
         field("held", Kind::boolean, "By an operator: it does not change by itself.").must(),
         field("failures", Kind::integer, "In a row, while closed.").must(),
         field("openings", Kind::integer, "In a row.").must(),
         field("probe_in_ms", Kind::integer, "While open: until the next probe.").must(),
         object("history", transition_shape(), "The last changes, oldest first.").must().list()}};
    return shape;
}

const Shape& backend_shape()
{
    static const Shape shape{
        "Backend",
        "An upstream that is in use.",
        {field("name", Kind::text, "").must(),
         field("address", Kind::text, "`host:port`; empty for the mock provider.").must(),
         field("models", Kind::text, "Patterns of the models that it serves.").must().list(10'000),
         field("priority", Kind::integer, "Lower ones are used first.")
             .must()
             .between(INT32_MIN, INT32_MAX),
         field("weight", Kind::integer, "").must(), object("circuit", circuit_shape(), "").must(),
         field("in_flight", Kind::integer, "Requests under way.").must(),
         field("first_byte_ms", Kind::number, "Average; null before the first answer.")
             .must()
             .or_null(),
         field("success_share", Kind::number, "Of the last seconds, from 0 to 1.").must(),
         field("keys", Kind::integer, "How many keys it has.").must(),
         field("resting_keys", Kind::integer, "Of these, those that were refused or limited.")
             .must(),
         field("connects", Kind::integer, "Connections made since the start.").must(),
         field("reuses", Kind::integer, "Requests on connections that were there.").must(),
         field("idle_connections", Kind::integer, "").must()}};
    return shape;
}

const Shape& backend_list()
{
    static const auto shape = list_of("BackendList", backend_shape());
    return shape;
}

const Shape& action_shape()
{
    static const Shape shape{
        "CircuitAction",
        "What to do with a circuit.",
        {field("action", Kind::text,
               "`open`: no request passes until `close` or `reset`; `close`: no failure opens it "
               "until `open` or `reset`; `reset`: closed, and it works by itself; `drain`: like "
               "`open`, and idle connections are closed.")
             .must()
             .one_of({"open", "close", "reset", "drain"})}};
    return shape;
}

Json show_circuit(const policy::CircuitBreaker::Report& report)
{
    Json shown = Json::object();
    shown["state"] = policy::to_string(report.state);
    shown["held"] = report.held;
    shown["failures"] = report.failures;
    shown["openings"] = report.openings;
    shown["probe_in_ms"] = std::chrono::ceil<std::chrono::milliseconds>(report.probe_in).count();
    auto& history = shown["history"] = Json::array();
    for (const auto& change : report.history) {
        Json one = Json::object();
        one["time"] = core::to_text(change.at);
        one["from"] = policy::to_string(change.from);
        one["to"] = policy::to_string(change.to);
        one["cause"] = policy::to_string(change.cause);
        history.push_back(std::move(one));
    }
    return shown;
}

Json show(const BackendPointer& backend)
{
    const auto& settings = backend->settings();
    auto& keys = backend->keys();
    std::size_t resting = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        resting += keys.is_cooling(i) ? 1 : 0;
    }
    const auto first_byte = backend->load()->time_to_first_byte();
    Json shown = Json::object();
    shown["name"] = backend->name();
    shown["address"] = backend->address();
    shown["models"] = settings.models;
    shown["priority"] = settings.priority;
    shown["weight"] = settings.weight;
    shown["circuit"] = show_circuit(backend->circuit().report());
    shown["in_flight"] = backend->leased();
    shown["first_byte_ms"] =
        first_byte ? Json(std::chrono::duration<double, std::milli>(*first_byte).count())
                   : Json(nullptr);
    shown["success_share"] = backend->load()->success_share();
    shown["keys"] = keys.size();
    shown["resting_keys"] = resting;
    shown["connects"] = backend->connects();
    shown["reuses"] = backend->reuses();
    shown["idle_connections"] = backend->idle();
    return shown;
}

core::Failure no_backend()
{
    return core::Failure(core::Errc::not_found, core::Origin::client, "no such backend")
        .say("There is no backend of this name in use.");
}

core::Task<core::Result<Reply>> list_backends(ManageParts& parts, Call&)
{
    const auto backends = parts.backends();
    storage::Page<BackendPointer> page;
    page.rows = backends->all();
    co_return page_reply(page, show);
}

core::Task<core::Result<Reply>> get_backend(ManageParts& parts, Call& call)
{
    const auto backend = parts.backends()->by_name(call.path[0]);
    if (!backend) {
        co_return no_backend();
    }
    co_return Reply(show(backend));
}

policy::CircuitOrder order_of(const std::string& action)
{
    if (action == "close") {
        return policy::CircuitOrder::close;
    }
    return action == "reset" ? policy::CircuitOrder::reset : policy::CircuitOrder::open;
}

Json brief(const upstream::Backend& backend)
{
    const auto report = backend.circuit().report();
    return Json{{"state", policy::to_string(report.state)}, {"held", report.held}};
}

core::Task<core::Result<Reply>> set_circuit(ManageParts& parts, Call& call)
{
    const auto backends = parts.backends();
    const auto backend = backends->by_name(call.path[0]);
    if (!backend) {
        co_return no_backend();
    }
    const auto action = call.body["action"].get<std::string>();
    const auto before = brief(*backend);
    const auto ordered = backends->order_circuit(backend->name(), order_of(action));
    if (!ordered) {
        co_return ordered.error();
    }
    if (action == "drain") {
        backend->close_idle();
    }
    auto row =
        audit_row(call, "backend." + action, "backend", backend->name(), before, brief(*backend));
    co_await note_change(parts, std::move(row));
    co_return Reply(show(backend));
}

}  // namespace

void add_backend_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::get, "/manage/backends", "listBackends", "backends",
                          "The backends in use, how they do, and their circuits.", list_backends)
                        .gives(backend_list())
                        .without_store());
    table.push_back(route(http::Verb::get, "/manage/backends/{backend}", "getBackend", "backends",
                          "One backend.", get_backend)
                        .gives(backend_shape())
                        .without_store());
    table.push_back(route(http::Verb::post, "/manage/backends/{backend}/circuit", "setCircuit",
                          "backends", "Open, close or reset a circuit, or drain a backend.",
                          set_circuit)
                        .takes(action_shape())
                        .gives(backend_shape())
                        .without_store());
}

}  // namespace llmproxy::handlers::manage
