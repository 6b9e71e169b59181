#include "options.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace llmproxy::bench {
namespace {

bool lists(std::string_view names, std::string_view name)
{
    std::istringstream stream{std::string(names)};
    for (std::string entry; stream >> entry;) {
        if (entry == name) {
            return true;
        }
    }
    return false;
}

[[noreturn]] void usage(std::string_view argument)
{
    std::fprintf(stderr, "bad argument: %.*s\n", static_cast<int>(argument.size()),
                 argument.data());
    std::exit(2);
}

}  // namespace

Options::Options(int count, char** arguments, std::string_view allowed, std::string_view flags)
{
    for (int index = 1; index < count; ++index) {
        const std::string_view argument = arguments[index];
        if (!argument.starts_with("--")) {
            usage(argument);
        }
        const std::string_view name = argument.substr(2);
        if (lists(flags, name)) {
            values_.emplace(name, "");
        } else if (lists(allowed, name) && index + 1 < count) {
            values_.emplace(name, arguments[++index]);
        } else {
            usage(argument);
        }
    }
}

std::string Options::text(const std::string& name, std::string_view fallback) const
{
    const auto found = values_.find(name);
    return found == values_.end() ? std::string(fallback) : found->second;
}

std::int64_t Options::number(const std::string& name, std::int64_t fallback) const
{
    const auto found = values_.find(name);
    if (found == values_.end()) {
        return fallback;
    }
    const std::string& value = found->second;
    std::int64_t result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc{} || end != value.data() + value.size()) {
        usage(value);
    }
    return result;
}

}  // namespace llmproxy::bench
