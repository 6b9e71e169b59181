#include "reply.hpp"

namespace llmproxy::pipeline {

std::size_t total_size(const std::vector<std::string_view>& runs) noexcept
{
    std::size_t sum = 0;
    for (const auto run : runs) {
        sum += run.size();
    }
    return sum;
}

void Relay::learn_ids(std::string_view bytes)
{
    if (!ids_) {
        return;
    }
    ids_->feed(bytes);
    for (auto& id : ids_->take()) {
        context_.learn(std::move(id));
    }
    if (ids_->done()) {
        ids_.reset();
    }
}

void Relay::scan()
{
    const auto look = [&](std::string_view bytes) {
        if (stream()) {
            std::vector<std::string_view> seen;
            stream()->feed(bytes, seen);
        } else if (json()) {
            json()->feed(bytes);
        }
    };
    if (inflater_) {
        for (const auto run : runs_) {
            inflater_->feed(run, inflated_);
            look(inflated_);
            learn_ids(inflated_);
        }
        relay_ = runs_;
        return;
    }
    // Before any of it is relayed: who reads an id may ask for it at once.
    for (const auto run : runs_) {
        learn_ids(run);
    }
    if (stream()) {
        if (runs_.size() > 1 && context_.hides_usage) {
            // What a hiding scanner gives out lives until its next call, so one call gets all.
            joined_.clear();
            for (const auto run : runs_) {
                joined_.append(run);
            }
            stream()->feed(joined_, relay_);
            return;
        }
        for (const auto run : runs_) {
            stream()->feed(run, relay_);
        }
        return;
    }
    if (json()) {
        if (reader_.done() && !head_sent_ && !scanned_held_ && held_.empty() && runs_.size() == 1) {
            json()->read_whole(runs_.front());
        } else {
            for (const auto run : runs_) {
                json()->feed(run);
            }
        }
    }
    relay_ = runs_;
}

void Relay::finish_scan()
{
    if (stream()) {
        stream()->finish(relay_);
    } else if (json()) {
        json()->finish();
    }
}

void Relay::note_usage()
{
    if (stream()) {
        context_.events_relayed = stream()->blocks();
        note(stream()->usage(), stream()->model(), stream()->finish_reason());
    } else if (json()) {
        const auto& facts = json()->facts();
        note(facts.usage, facts.model, facts.finish_reason);
    }
}

void Relay::note(const openai::Usage& usage, const std::string& model, const std::string& reason)
{
    auto& record = context_.exchange.record;
    record.served_model = model;
    if (openai::is_inference(context_.route)) {
        record.finish_reason = reason;
    }
    if (usage.present) {
        record.usage = {true,
                        usage.all_input(),
                        usage.output_tokens,
                        usage.all_cached(),
                        usage.reasoning_tokens,
                        usage.cache_write_tokens,
                        usage.audio_input_tokens,
                        usage.audio_output_tokens};
    }
}

}  // namespace llmproxy::pipeline
