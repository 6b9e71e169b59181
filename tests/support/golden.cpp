#include "support/golden.hpp"

#include "support/test_ca.hpp"

#include <cstdlib>
#include <gtest/gtest.h>
#include <regex>

namespace llmproxy::test {

void expect_golden(const std::string& name, const std::string& text)
{
    const auto path = std::string(LLMPROXY_GOLDEN_DIR) + "/" + name;
    if (std::getenv("LLMPROXY_WRITE_GOLDEN") != nullptr) {
        write_file(path, text);
        ADD_FAILURE() << "wrote " << path << "; look at the difference and run again without "
                      << "LLMPROXY_WRITE_GOLDEN";
        return;
    }
    EXPECT_EQ(text, read_file(path))
        << "users depend on what " << path << " holds; if it is to change, run the test with "
        << "LLMPROXY_WRITE_GOLDEN=1";
}

std::string with_replaced(const std::string& text, const std::string& pattern,
                          const std::string& by)
{
    return std::regex_replace(text, std::regex(pattern), by);
}

}  // namespace llmproxy::test
