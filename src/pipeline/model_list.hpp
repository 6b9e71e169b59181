#pragma once

#include "request_context.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <mutex>

namespace llmproxy::pipeline {

/// `GET /v1/models` and `/v1/models/{id}`: the union over the backends, each asked at most every five minutes.
///
/// Of a backend's list only what its `models` patterns route to it is shown; where two list the same id, the one with
/// the better priority wins. A backend that cannot be asked is left out, and asked again at the next request.
/// Thread safety: every member may be called concurrently.
class ModelList {
public:
    core::Task<core::Result<void>> answer(RequestContext& context);

private:
    using Models = std::map<std::string, nlohmann::json>;
    struct Listed {
        core::SteadyTime until{};
        std::shared_ptr<const Models> models;
    };

    core::Task<core::Result<std::shared_ptr<const Models>>>
    models_of(RequestContext& context, std::shared_ptr<upstream::Backend> backend);
    core::Task<core::Result<std::string>> fetch(RequestContext& context,
                                                std::shared_ptr<upstream::Backend> backend);

    std::mutex mutex_;
    std::map<std::string, Listed, std::less<>> by_backend_;
};

}  // namespace llmproxy::pipeline
