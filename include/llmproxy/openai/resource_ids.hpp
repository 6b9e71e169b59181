#pragma once

#include "llmproxy/openai/route.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::openai {

/// Files, batches, vector stores, assistants, threads, stored responses and the like: things that a backend keeps for the
/// client, under ids of its own making. Called resources here.

/// Whether a path below `/v1` is about resources, e.g. `/v1/files` and `/v1/responses/{id}`, but not `/v1/responses`.
[[nodiscard]] bool is_resource_path(std::string_view path) noexcept;

/// What could be ids in a path about resources, in their order; the first one that is known says where the request goes.
[[nodiscard]] std::vector<std::string_view> ids_in_path(std::string_view path);

/// Whether the reply to a request about resources tells ids that were not known before.
[[nodiscard]] bool tells_ids(std::string_view method, std::string_view path) noexcept;
/// Whether the reply to an inference request is kept by the backend, so that its id will be asked for: by `store` in the
/// body, which responses have by default and chat completions have not.
[[nodiscard]] bool is_stored(Route route, std::string_view body) noexcept;

/// The ids of resources that a JSON body names (`previous_response_id`, `input_file_id`, `vector_store_ids` ...), the
/// weightiest first. Looks at the text alone, also of a body that is cut off; of a list only the first item counts.
[[nodiscard]] std::vector<std::string_view> ids_in_body(Route route, std::string_view body);

/// Reads ids of resources out of a JSON reply, or the events of a stream, as the pieces pass: top-level `id`, `thread_id`,
/// `output_file_id`, `error_file_id`, items of `result_files`, and the `id` of a top-level `file` or `response`.
///
/// Looks at the first kBudget bytes at most; memory: what was found, and the name or text that is being read.
/// Thread safety: none.
class IdScanner {
public:
    static constexpr std::size_t kBudget = std::size_t{64} * 1024;
    static constexpr std::size_t kMaxIds = 8;
    static constexpr std::size_t kLongestId = 128;

    /// \param wanted  ends when so many ids were found.
    explicit IdScanner(std::size_t wanted = kMaxIds) noexcept : wanted_(wanted) {}

    void feed(std::string_view piece);
    /// The ids found since the last call, each only once per reply.
    [[nodiscard]] std::vector<std::string> take();
    /// Nothing more will be found.
    [[nodiscard]] bool done() const noexcept { return done_; }

private:
    enum class Key : std::uint8_t { other, id, holder, list };

    void open(bool object);
    void close();
    void end_text();
    void structural(char c);
    [[nodiscard]] bool in_object() const noexcept { return (objects_ & 1U) != 0; }

    std::size_t wanted_;
    std::size_t left_ = kBudget;
    std::uint64_t objects_ = 0;  // one bit per level, the innermost lowest: an object, not an array
    std::size_t depth_ = 0;
    Key outer_ = Key::other;  // of the first level
    Key inner_ = Key::other;  // of the second
    bool key_next_ = false;   // the next text is a name
    bool in_text_ = false;
    bool escaped_ = false;
    bool overlong_ = false;
    bool done_ = false;
    std::string text_;
    std::vector<std::string> found_;
    std::size_t taken_ = 0;
};

}  // namespace llmproxy::openai
