#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace llmproxy::bench {

/// `--name value` pairs and `--flag`s of a command line. Exits with 2 on anything else, and on a
/// name that is not in `allowed` (names separated by spaces).
class Options {
public:
    Options(int count, char** arguments, std::string_view allowed, std::string_view flags);

    [[nodiscard]] bool has(const std::string& name) const { return values_.contains(name); }
    [[nodiscard]] std::string text(const std::string& name, std::string_view fallback = "") const;
    [[nodiscard]] std::int64_t number(const std::string& name, std::int64_t fallback) const;

private:
    std::map<std::string, std::string> values_;
};

}  // namespace llmproxy::bench
