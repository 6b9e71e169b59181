#pragma once

namespace llmproxy::policy {

/// Where decision classes get chance from, so that tests can set it.
/// Thread safety: every member may be called concurrently.
class RandomSource {
public:
    virtual ~RandomSource() = default;
    /// The next number, at least 0 and below 1.
    [[nodiscard]] virtual double unit() noexcept = 0;
};

/// A generator per thread, seeded by the operating system. Spreads load; not for secrets.
class ThreadRandom final : public RandomSource {
public:
    [[nodiscard]] double unit() noexcept override;
};

}  // namespace llmproxy::policy
