#pragma once

#include "shape.hpp"

namespace llmproxy::handlers::manage {

/// What is asked of `POST /manage/explain`, and what it answers.
/// @{
[[nodiscard]] const Shape& question_shape();
[[nodiscard]] const Shape& explanation_shape();
/// @}

}  // namespace llmproxy::handlers::manage
