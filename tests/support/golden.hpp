#pragma once

#include <string>

namespace llmproxy::test {

/// Fails the running test unless `text` is what the file `tests/golden/<name>` says.
///
/// With LLMPROXY_WRITE_GOLDEN set the file is written first, and the test fails too, so that nothing passes unseen.
void expect_golden(const std::string& name, const std::string& text);

/// `text` with every match of the regular expression (ECMAScript) replaced.
[[nodiscard]] std::string with_replaced(const std::string& text, const std::string& pattern,
                                        const std::string& by);

}  // namespace llmproxy::test
