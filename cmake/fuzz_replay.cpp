// Feeds every file of the given directories to a fuzz target, without a fuzzer. Fails if there is none.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void replay(const std::string& bytes)
{
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv)
{
    std::size_t count = 0;
    replay("");
    for (int i = 1; i < argc; ++i) {
        std::error_code none;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i], none)) {
            if (entry.is_regular_file()) {
                std::ifstream file(entry.path(), std::ios::binary);
                replay(std::string(std::istreambuf_iterator<char>(file), {}));
                ++count;
            }
        }
    }
    std::printf("replayed %zu files\n", count);
    return count == 0 ? 1 : 0;
}
