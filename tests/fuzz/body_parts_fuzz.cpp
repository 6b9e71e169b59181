#include "llmproxy/openai/inflater.hpp"
#include "llmproxy/openai/multipart.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

/// Multipart prefixes and compressed replies.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    namespace openai = llmproxy::openai;
    using State = openai::MultipartModel::State;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto fixed = openai::multipart_model("multipart/form-data; boundary=b", input);
    const auto part =
        openai::multipart_model("multipart/form-data; boundary=b", input.substr(0, size / 2));
    if (part.state == State::found && (fixed.state != State::found || part.value != fixed.value)) {
        std::abort();
    }
    const auto line = input.find('\n');
    if (line != std::string_view::npos) {
        static_cast<void>(openai::multipart_model(input.substr(0, line), input.substr(line + 1)));
    }
    for (const auto coding : {openai::Coding::gzip, openai::Coding::deflate}) {
        openai::Inflater inflater(coding);
        std::string out;
        if (inflater.feed(input.substr(0, size / 2), out)) {
            inflater.feed(input.substr(size / 2), out);
        }
    }
    return 0;
}
