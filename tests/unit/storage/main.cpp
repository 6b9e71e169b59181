#include "kill_writer.hpp"

#include <cstdlib>
#include <gtest/gtest.h>
#include <string_view>

int main(int argc, char** argv)
{
    if (argc == 5 && std::string_view(argv[1]) == llmproxy::storage::test::kKillWriter) {
        return llmproxy::storage::test::run_kill_writer(
            argv[2], argv[3], static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10)));
    }
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
