#include "llmproxy/openai/reply_scanner.hpp"
#include "llmproxy/openai/stream_scanner.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

namespace openai = llmproxy::openai;

struct Seen {
    std::string out;
    openai::Usage usage;
    std::string model;
    bool terminal = false;
    bool error = false;
    bool boundary = false;
    friend bool operator==(const Seen&, const Seen&) = default;
};

Seen run(std::string_view input, std::size_t step, bool hide, openai::Route route)
{
    openai::StreamScanner scanner(route, hide);
    Seen seen;
    std::vector<std::string_view> relay;
    const auto take = [&] {
        for (const auto span : relay) {
            seen.out += span;
        }
        relay.clear();
    };
    for (std::size_t at = 0; at < input.size(); at += step) {
        const std::string piece(input.substr(at, step));
        scanner.feed(piece, relay);
        take();
    }
    seen.boundary = scanner.at_event_boundary();
    scanner.finish(relay);
    take();
    seen.usage = scanner.usage();
    seen.model = scanner.model();
    seen.terminal = scanner.terminal_seen();
    seen.error = scanner.error_seen();
    return seen;
}

}  // namespace

/// Whatever the split, the scanner sees and gives out the same; without hiding it gives out everything.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    for (const auto route : {openai::Route::chat_completions, openai::Route::responses}) {
        for (const bool hide : {false, true}) {
            const auto whole = run(input, size + 1, hide, route);
            if (!(run(input, 1, hide, route) == whole) || !(run(input, 7, hide, route) == whole)) {
                std::abort();
            }
            if (!hide && whole.out != input) {
                std::abort();
            }
        }
    }
    static_cast<void>(openai::scan_reply(input));
    return 0;
}
