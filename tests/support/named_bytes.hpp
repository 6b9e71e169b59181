#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

namespace llmproxy::test {

/// A parameter of tests that differ in the bytes on the wire only.
struct NamedBytes {
    std::string name;  ///< of the test: letters and digits
    std::string bytes;

    friend std::ostream& operator<<(std::ostream& out, const NamedBytes& item)
    {
        return out << item.name;
    }
};

/// For INSTANTIATE_TEST_SUITE_P.
[[nodiscard]] inline std::string name_of(const testing::TestParamInfo<NamedBytes>& item)
{
    return item.param.name;
}

}  // namespace llmproxy::test
