#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/storage/ledger.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy::storage {

/// Counts the changes of a row, from 1; what an ETag is made of. 0: not stored yet.
using Version = std::int64_t;

/// What a project, or a token within its project, may use. An empty list allows what the level
/// above does.
struct Grants {
    std::vector<std::string> models;
    std::vector<std::string> hosts;
    std::vector<std::string> routes;

    friend bool operator==(const Grants&, const Grants&) = default;
};

/// Texts may hold any bytes, those in Grants must be UTF-8. Times are kept in milliseconds.
struct ProjectRow {
    core::ProjectId id = core::ProjectId::none;  ///< given by the store
    Version version = 0;
    std::string name;  ///< unique
    Grants grants;
    bool enabled = true;
    core::SystemTime created;
    core::SystemTime updated;

    friend bool operator==(const ProjectRow&, const ProjectRow&) = default;
};

/// SHA-256 of a token.
using TokenHash = std::array<std::uint8_t, 32>;

struct TokenRow {
    core::TokenId id = core::TokenId::none;  ///< given by the store
    Version version = 0;
    core::ProjectId project = core::ProjectId::none;
    std::string name;    ///< unique within its project
    TokenHash hash{};    ///< unique
    std::string prefix;  ///< the first characters of the token, to recognise it by
    Grants grants;
    core::SystemTime created;
    core::SystemTime updated;
    std::optional<core::SystemTime> expires;
    std::optional<core::SystemTime> revoked;

    friend bool operator==(const TokenRow&, const TokenRow&) = default;
};

/// A project's own key for a backend, sealed by `accounts`; the store sees only bytes.
struct ProviderKeyRow {
    std::int64_t id = 0;  ///< given by the store
    Version version = 0;
    core::ProjectId project = core::ProjectId::none;
    std::string backend;  ///< (project, backend, name) is unique
    std::string name;
    std::string master_key;  ///< names the key that it was sealed with
    std::string sealed;      ///< nonce, ciphertext and tag
    std::string hint;        ///< the last characters of the key, to recognise it by
    core::SystemTime created;
    core::SystemTime updated;

    friend bool operator==(const ProviderKeyRow&, const ProviderKeyRow&) = default;
};

/// Rate limits of a subject, on one route or on all. Unset: no limit of this kind.
struct LimitRow {
    std::string route;  ///< empty: every route without a row of its own
    std::optional<std::int64_t> requests_per_minute;
    std::optional<std::int64_t> tokens_per_minute;
    std::optional<std::int64_t> bytes_per_minute;
    std::optional<std::int64_t> concurrent_requests;
    std::optional<std::int64_t> tunnels;

    friend bool operator==(const LimitRow&, const LimitRow&) = default;
};

/// What a subject may spend in each period of a kind. Unset: no bound of this kind.
struct BudgetRow {
    PeriodKind period = PeriodKind::month;
    std::optional<core::NanoUsd> cost;
    std::optional<std::int64_t> tokens;
    std::vector<std::uint8_t> soft_percents;  ///< ascending; reaching one is an event

    friend bool operator==(const BudgetRow&, const BudgetRow&) = default;
};

/// A token with all that deciding about its requests takes, read in one piece.
struct TokenAccess {
    TokenRow token;
    ProjectRow project;
    std::vector<LimitRow> token_limits;
    std::vector<LimitRow> project_limits;
    std::vector<BudgetRow> token_budgets;
    std::vector<BudgetRow> project_budgets;
};

/// Who changed what, and when. Holds no secrets.
struct AuditRow {
    std::int64_t id = 0;  ///< given by the store, ascending
    core::SystemTime time;
    std::string actor;
    std::string source;       ///< the actor's address
    std::string action;       ///< "project.create"
    std::string target_kind;  ///< "project"
    std::string
        target;  ///< its id; left empty for something new, the store writes the id that it gave
    std::string before;  ///< JSON, or empty
    std::string after;   ///< JSON, or empty

    friend bool operator==(const AuditRow&, const AuditRow&) = default;
};

/// Something that an upstream keeps for a project: a file, batch, stored response, vector store.
struct ResourceRow {
    core::ProjectId project = core::ProjectId::none;
    std::string kind;  ///< "file"
    std::string id;    ///< as the upstream named it; (project, kind, id) is unique
    core::TokenId token = core::TokenId::none;  ///< that made it
    std::string backend;
    std::string key;  ///< names the backend's key that holds it
    core::SystemTime created;
    std::optional<core::SystemTime> expires;

    friend bool operator==(const ResourceRow&, const ResourceRow&) = default;
};

/// Which audit rows. What is unset matches everything.
struct AuditFilter {
    core::SystemTime from;  ///< inclusive
    core::SystemTime to = core::SystemTime::max();
    std::optional<std::string> actor;
    std::optional<std::string> action;
    std::optional<std::string> target_kind;
    std::optional<std::string> target;
};

/// Which part of a list.
struct PageRequest {
    std::string cursor;         ///< Page::next of the page before; empty: the first
    std::uint32_t limit = 100;  ///< at most 1000 are given
    bool newest_first = false;

    PageRequest() = default;
    explicit PageRequest(std::uint32_t most, bool newest = false)
        : limit(most), newest_first(newest)
    {
    }
};

/// A part of a list. What is added or removed meanwhile shifts nothing.
template <typename Row>
struct Page {
    std::vector<Row> rows;
    std::string next;  ///< cursor of the next page; empty: this is the last
};

}  // namespace llmproxy::storage
