#include "store_parts.hpp"

#include "llmproxy/core/secret.hpp"
#include "llmproxy/storage/sqlite_store.hpp"
#include "llmproxy/telemetry/log.hpp"

namespace llmproxy::app {
namespace {

std::string_view period_word(storage::PeriodKind kind) noexcept
{
    switch (kind) {
    case storage::PeriodKind::day: return "day";
    case storage::PeriodKind::week: return "week";
    case storage::PeriodKind::month: return "month";
    case storage::PeriodKind::total: break;
    }
    return "total";
}

}  // namespace

core::Result<StoreParts> open_store(const storage::Settings& settings,
                                    std::shared_ptr<const core::Clock> clock,
                                    telemetry::Metrics& metrics)
{
    StoreParts parts;
    if (settings.path.empty()) {
        return parts;
    }
    if (auto key = core::decode_key(settings.encryption_key.reveal())) {
        std::vector<core::Secret> older;
        for (const auto& text : settings.old_encryption_keys) {
            if (auto old = core::decode_key(text.reveal())) {
                older.push_back(std::move(*old));
            }
        }
        auto vault = accounts::KeyVault::make(std::move(*key), std::move(older));
        if (!vault) {
            return vault.error();
        }
        parts.vault = std::make_shared<const accounts::KeyVault>(std::move(*vault));
    }
    storage::SqliteOptions options;
    options.settings = settings;
    options.clock = std::move(clock);
    options.on_commit = [&metrics](core::Duration took) { metrics.store_commit(took); };
    auto store = storage::open_sqlite(std::move(options));
    if (!store) {
        return store.error();
    }
    parts.store = std::move(*store);
    parts.keys = std::make_unique<accounts::ProviderKeys>(parts.store, parts.vault);
    return parts;
}

void collect_store(const storage::Store& store, telemetry::Metrics& into)
{
    const auto stats = store.stats();
    telemetry::StoreFigures figures;
    figures.works = store.healthy();
    figures.queued = stats.queued;
    figures.unsettled = stats.unsettled;
    figures.failures = stats.failures;
    into.show_store(figures);
}

void collect_budgets(const accounts::Accounts& accounts, telemetry::Metrics& into)
{
    accounts.show_budgets([&into](const accounts::Accounts::BudgetUse& use) {
        const bool project = use.subject == storage::SubjectKind::project;
        into.show_budget(project ? "project" : "token", use.project, period_word(use.period),
                         use.share);
    });
}

void report_soft_limit(const accounts::SoftLimitReached& reached)
{
    const bool project = reached.subject.kind == storage::SubjectKind::project;
    telemetry::log("accounts")
        .warn({}, "a budget is near its end",
              {{"subject", project ? "project" : "token"},
               {"id", reached.subject.id},
               {"period", period_word(reached.period.kind)},
               {"percent", reached.percent},
               {"of", reached.money ? "money" : "tokens"},
               {"spent", reached.spent},
               {"limit", reached.limit}});
}

void tell_changed(accounts::Accounts& accounts, storage::Subject subject)
{
    if (subject.kind == storage::SubjectKind::project) {
        accounts.project_changed(core::ProjectId{subject.id});
    } else {
        accounts.token_changed(core::TokenId{subject.id});
    }
}

void tell_ended(accounts::Accounts& accounts, storage::Subject subject)
{
    if (subject.kind == storage::SubjectKind::project) {
        accounts.project_revoked(core::ProjectId{subject.id});
    } else {
        accounts.token_revoked(core::TokenId{subject.id});
    }
}

}  // namespace llmproxy::app
