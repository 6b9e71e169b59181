#include "reply.hpp"

namespace llmproxy::pipeline {

void Relay::scan()
{
    const auto look = [&](std::string_view bytes) {
        if (stream_) {
            std::vector<std::string_view> seen;
            stream_->feed(bytes, seen);
        } else if (json_) {
            json_->feed(bytes);
        }
    };
    if (inflater_) {
        for (const auto run : runs_) {
            inflater_->feed(run, inflated_);
            look(inflated_);
        }
        relay_ = runs_;
        return;
    }
    if (stream_) {
        if (runs_.size() > 1 && context_.hides_usage) {
            // What a hiding scanner gives out lives until its next call, so one call gets all.
            joined_.clear();
            for (const auto run : runs_) {
                joined_.append(run);
            }
            stream_->feed(joined_, relay_);
            return;
        }
        for (const auto run : runs_) {
            stream_->feed(run, relay_);
        }
        return;
    }
    if (json_) {
        if (reader_.done() && !head_sent_ && !scanned_held_ && held_.empty() && runs_.size() == 1) {
            whole_ = openai::scan_reply(runs_.front());
            scanned_whole_ = true;
        } else {
            for (const auto run : runs_) {
                json_->feed(run);
            }
        }
    }
    relay_ = runs_;
}

void Relay::finish_scan()
{
    if (stream_) {
        stream_->finish(relay_);
    } else if (json_ && !scanned_whole_) {
        json_->finish();
    }
}

void Relay::note_usage()
{
    const openai::Usage* usage = nullptr;
    if (stream_) {
        usage = &stream_->usage();
    } else if (json_) {
        usage = scanned_whole_ ? &whole_.usage : &json_->usage();
    }
    if (usage != nullptr && usage->present) {
        auto& out = context_.exchange.record.usage;
        out.present = true;
        out.input = usage->input_tokens;
        out.output = usage->output_tokens;
        out.cached = usage->cached_tokens;
        out.reasoning = usage->reasoning_tokens;
    }
}

}  // namespace llmproxy::pipeline
