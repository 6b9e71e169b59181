#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/http/exchange.hpp"
#include "llmproxy/http/target.hpp"
#include "llmproxy/openai/request_facts.hpp"
#include "llmproxy/openai/route.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/pipeline/resources.hpp"
#include "spending.hpp"

#include <boost/container/static_vector.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::pipeline {

struct ByteRange {
    std::size_t offset = 0;
    std::size_t size = 0;
};

/// One request on its way through the phases. Lives on the session's strand for as long as the request does.
struct RequestContext {
    RequestContext(http::Exchange& the_exchange, std::shared_ptr<const Policies> the_policies,
                   const std::string& the_via_name)
        : exchange(the_exchange), policies(std::move(the_policies)), via_name(the_via_name)
    {
    }

    /// The request goes to this target next.
    void take(upstream::Choice choice);
    void name_backend(std::shared_ptr<upstream::Backend> chosen);
    /// The commit point: a reply with this status begins to go to the client. From here on nothing is sent again, so a
    /// long reply does not keep its request in memory; circuit, key and load hear of a head below 400 before the client can.
    void commit(unsigned status) noexcept;

    /// How long to wait for the head of the reply: as configured, or as learnt for this backend and model.
    [[nodiscard]] core::Duration header_timeout() const;
    /// A head came after `time`, or none came for so long.
    void learn_head_time(core::Duration time);

    /// The key of the attempt under way: the project's own, or one of the backend's.
    [[nodiscard]] const core::Secret& key_text() const noexcept;

    /// What has this id is now with the backend and key of the attempt under way.
    void learn(std::string id) const;

    /// Where the trace notes what happens; null: nowhere.
    [[nodiscard]] telemetry::Trace* trace() const noexcept
    {
        return telemetry::sampled(exchange.record.trace);
    }

    http::Exchange& exchange;
    std::shared_ptr<const Policies> policies;
    const std::string& via_name;
    policy::RetryBudget* budget = nullptr;          ///< the gateway's
    policy::AdaptiveTimeout* head_times = nullptr;  ///< the gateway's
    Resources* resources = nullptr;                 ///< the gateway's; nullptr: nothing is learnt

    accounts::AccountPtr account;        ///< who asks; set once authenticated
    std::unique_ptr<Spending> spending;  ///< null where nothing is recorded: without a store
    bool revoked = false;                ///< the token was, meanwhile
    unsigned upstream_status = 0;        ///< of the answer
    std::uint64_t events_relayed = 0;    ///< of a stream
    std::uint64_t about_to_relay =
        0;  ///< bytes of the body that are written once the usage is recorded

    http::Target target;
    openai::Route route = openai::Route::other;
    core::Deadline total;  ///< total_timeout from the request's head
    std::shared_ptr<upstream::Backend> backend;
    upstream::Targets* targets = nullptr;  ///< where else it may go; nullptr: only to that backend
    const upstream::Target* place = nullptr;  ///< which of them was chosen
    policy::CircuitBreaker::Permit circuit;   ///< of `backend`, for the attempt under way
    policy::BackendLoad::Pending pending;
    std::size_t key = 0;  ///< index among the backend's keys
    accounts::ProviderKeys::KeysPtr
        own_keys;  ///< the project's, for that backend; they take the place of those
    /// Holds what the request names, with this key if that is still known: it goes nowhere else.
    std::shared_ptr<upstream::Backend> home;
    std::optional<std::size_t> home_key;
    std::string home_of;         ///< the id that says so
    bool names_unknown = false;  ///< an id of which nobody here knows whose it is
    bool tells_ids = false;      ///< the reply may tell ids to learn

    /// Where the model stands that the client named: in the body of a form, in the query of a realtime connection.
    std::optional<ByteRange> model_at;
    bool model_out_of_reach = false;  ///< of a form: not within the beginning that was looked at

    std::string body;                           ///< inference: all of it; multipart: its first part
    std::optional<openai::RequestFacts> facts;  ///< inference routes with a body
    /// What is changed in the body on its way, in the order of the offsets.
    boost::container::static_vector<openai::Splice, 3> splices;
    std::optional<openai::Splice> token_limit;  ///< that its budget needs
    policy::ByteBudget::Hold held;
    bool hides_usage = false;   ///< usage was asked for by us: the client must not see its block
    bool body_is_held = false;  ///< `body` is the whole body, so it can be sent again
    bool upgrade =
        false;  ///< a WebSocket handshake, or whatever the forward proxy's client asks for
    bool forward = false;  ///< absolute-form: the reply passes as it is, nothing is read beside it
    bool awaits_continue =
        false;  ///< the upload starts at the upstream's 100 (RFC 9110, section 10.1.1)

    core::Duration waited{0};         ///< in queues
    core::Duration upstream_time{0};  ///< connecting and waiting between attempts included

    bool forbids_client_retry = false;  ///< retries were made: those of an SDK would multiply them
    std::string error_fields;           ///< further lines of an error made here
};

/// The project of the request's account, 0 for tokens of the configuration.
[[nodiscard]] inline std::int64_t project_of(const RequestContext& context) noexcept
{
    return static_cast<std::int64_t>(context.account->project());
}

/// Whether a project that shares the backend's key names only what is known to be its own.
/// Fails with Errc::not_found.
[[nodiscard]] core::Result<void> check_tenant(const RequestContext& context);

/// The model as a backend is asked for it. \param target  null: by the name that the client uses.
[[nodiscard]] std::string_view asked_model(const upstream::Target* target,
                                           const RequestContext& context);

/// Finds the keys that the request's project has for the backend that was chosen.
/// Fails with Errc::route_not_allowed where only such a key keeps tenants apart, like `check_tenant`, and like accounts::ProviderKeys::of.
core::Task<core::Result<void>> find_own_keys(RequestContext& context);

/// Chooses one of the targets for a model, or the default backend for routes without one; what is held somewhere stays there.
/// Fails with Errc::model_not_found, Errc::not_found, Errc::circuit_open.
[[nodiscard]] core::Result<void> choose_backend(RequestContext& context,
                                                std::optional<std::string_view> named);

/// The failure of a request that no circuit lets through, and its Retry-After: when the first will, at least a second.
[[nodiscard]] core::Failure circuit_open(RequestContext& context, core::Duration opens_in);

/// Whether a method and its framing carry no body at all.
[[nodiscard]] inline bool has_no_body(const http::RequestHead& head) noexcept
{
    return head.framing.kind == http::Framing::Kind::none ||
           (head.framing.kind == http::Framing::Kind::length && head.framing.length == 0);
}

/// GET or HEAD without a body: may be sent twice.
[[nodiscard]] inline bool is_bare(const http::RequestHead& head) noexcept
{
    return has_no_body(head) && (head.verb == http::Verb::get || head.verb == http::Verb::head);
}

/// The bytes of the body that lie in the context as they go on: around its splices and with them. How many pieces; at most
/// kBodyPieces.
inline constexpr std::size_t kBodyPieces = 5;
std::size_t body_pieces(const RequestContext& context, std::span<std::string_view> out) noexcept;
/// By how much the splices change the size of the body, modulo 2^64.
[[nodiscard]] std::uint64_t spliced_growth(const RequestContext& context) noexcept;

/// Takes the body of an inference request into the context: what has come with the head, true if that was all of it,
/// and otherwise the rest.
[[nodiscard]] core::Result<bool> hold_what_came(RequestContext& context);
core::Task<core::Result<void>> hold_rest(RequestContext& context);
/// Reads the facts of the body that is held.
[[nodiscard]] core::Result<void> understand_body(RequestContext& context);

/// Reads one more piece of a body that is not held into the context; false at its end or once `limit` bytes are there.
core::Task<core::Result<bool>> read_ahead(RequestContext& context, std::size_t limit);

/// Reads ahead in a multipart body for the `model` field, at most 64 KiB; what was read stays in the context, which says
/// where the field is.
core::Task<core::Result<std::string>> sniff_multipart_model(RequestContext& context);

/// Whether somebody may hold what the request is about; says also whether the reply is to be looked through for ids.
[[nodiscard]] bool may_have_home(RequestContext& context);
/// Finds who holds the resources that the request names, by its path or body; of a body that is not held the beginning is
/// read for that. Fails like a read of the body.
core::Task<core::Result<void>> find_home(RequestContext& context);

/// The attempts phase and the relay of what they brought.
core::Task<core::Result<void>> run_attempts(RequestContext& context);

/// Appends the field that tells the proxy's own share of the time so far, which goes into the record too.
void append_server_timing(std::string& out, RequestContext& context);

/// The request head as it goes to the backend, its empty line included.
[[nodiscard]] std::string compose_request_head(const RequestContext& context,
                                               const core::Secret& key);

}  // namespace llmproxy::pipeline
