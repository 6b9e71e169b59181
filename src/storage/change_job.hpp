#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "resumption.hpp"
#include "writer.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace llmproxy::storage {

/// A change that a coroutine waits for.
template <typename T>
class ChangeJob final : public WriteJob {
public:
    explicit ChangeJob(std::function<core::Result<T>(WriteContext&)> change)
        : WriteJob(Kind::change), change_(std::move(change))
    {
    }
    core::Result<void> apply(WriteContext& context) override
    {
        result_.emplace(change_(context));
        return result_->has_value() ? core::Result<void>() : core::Result<void>(result_->error());
    }
    void conclude(const core::Result<void>& outcome) override
    {
        if (!outcome) {
            result_.emplace(outcome.error());
        }
        waiting_.resume();
    }
    void wait_with(Resumption waiting) noexcept { waiting_ = std::move(waiting); }
    [[nodiscard]] core::Result<T> take_result() { return std::move(*result_); }

private:
    std::function<core::Result<T>(WriteContext&)> change_;
    std::optional<core::Result<T>> result_;
    Resumption waiting_;
};

/// Queues a job once its coroutine is suspended.
template <typename Job>
class PushJob {
public:
    PushJob(Writer& writer, std::shared_ptr<Job> job) : writer_(&writer), job_(std::move(job)) {}
    void operator()(Resumption waiting)
    {
        job_->wait_with(std::move(waiting));
        writer_->push(std::move(job_));
    }

private:
    Writer* writer_;
    std::shared_ptr<Job> job_;
};

/// Runs a change in the writer's transaction and returns what it gave, once that is durable.
template <typename T>
core::Task<core::Result<T>> run_change(Writer& writer,
                                       std::function<core::Result<T>(WriteContext&)> change)
{
    const auto job = std::make_shared<ChangeJob<T>>(std::move(change));
    PushJob<ChangeJob<T>> push(writer, job);
    co_await suspend(std::move(push));
    co_return job->take_result();
}

}  // namespace llmproxy::storage
