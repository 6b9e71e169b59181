#include "gen_ai_metrics.hpp"

#include "llmproxy/telemetry/gen_ai.hpp"

#include <array>
#include <utility>

namespace llmproxy::telemetry {
namespace {

constexpr std::string_view kOther = "other";

}  // namespace

LabelNames::LabelNames(std::size_t most) : most_(most)
{
    all_.push_back(std::make_unique<const Names>());
    current_.store(all_.back().get(), std::memory_order_release);
}

std::string_view LabelNames::label(std::string_view name, bool vouched)
{
    if (name.empty()) {
        return name;
    }
    const auto& known = *current_.load(std::memory_order_acquire);
    if (const auto found = known.find(name); found != known.end()) {
        return *found;
    }
    const auto most = most_.load(std::memory_order_relaxed);
    if (!vouched || known.size() >= most) {
        return kOther;
    }
    const std::lock_guard lock(mutex_);
    if (const auto found = all_.back()->find(name); found != all_.back()->end()) {
        return *found;
    }
    if (all_.back()->size() >= most) {
        return kOther;
    }
    auto more = std::make_unique<Names>(*all_.back());
    const std::string_view label = *more->emplace(name).first;
    all_.push_back(std::move(more));
    current_.store(all_.back().get(), std::memory_order_release);
    return label;
}

void GenAiMetrics::record(const AccessRecord& record)
{
    const auto operation = gen_ai_operation(record.route);
    if (operation.empty() || record.backend.empty()) {
        return;
    }
    const bool answered = record.status < 300 && record.outcome == "ok";
    const auto asked = models_.label(record.model, answered);
    const auto served = models_.label(record.served_model, answered);
    // The operation and the provider are few: both fit into one part of the key.
    std::array<char, 64> kind{};
    const auto size = operation.copy(kind.data(), 31);
    kind[size] = '\n';
    const auto all = size + 1 + record.provider.copy(kind.data() + size + 1, 31);
    const SeriesKey key{{kind.data(), all}, asked, served};
    const auto& series = series_.find(key, [&](const SeriesKey& wanted) {
        const bool known = wanted.first.find('\n') != std::string_view::npos;
        const auto name = known ? operation : wanted.first;
        const auto provider = known ? record.provider : wanted.first;
        const auto with = [&](Metric metric) {
            return store_.with(metric, {name, provider, wanted.second, wanted.third});
        };
        const auto tokens = [&](std::string_view type) {
            return store_.with(Metric::gen_ai_tokens,
                               {name, provider, wanted.second, wanted.third, type});
        };
        return Series{tokens("input"), tokens("output"), with(Metric::gen_ai_duration),
                      with(Metric::gen_ai_first_token), with(Metric::gen_ai_output_token)};
    });
    store_.observe(Metric::gen_ai_duration, series.duration, record.times.total);
    if (record.usage.present) {
        store_.observe(Metric::gen_ai_tokens, series.input, record.usage.input);
        if (operation != "embeddings") {
            store_.observe(Metric::gen_ai_tokens, series.output, record.usage.output);
        }
    }
    const auto first = record.times.first_piece;
    if (first < core::Duration::zero()) {
        return;
    }
    store_.observe(Metric::gen_ai_first_token, series.first_token, first);
    if (record.usage.output > 1) {
        const auto later = static_cast<core::Duration::rep>(record.usage.output - 1);
        store_.observe(Metric::gen_ai_output_token, series.output_token,
                       (record.times.total - first) / later);
    }
}

}  // namespace llmproxy::telemetry
