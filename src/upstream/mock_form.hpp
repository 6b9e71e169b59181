#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace llmproxy::upstream::mock {

/// Reads a multipart/form-data body as it comes (RFC 7578): keeps short fields, counts and hashes
/// the file.
/// Thread safety: none. Holds at most one part head or field value, both limited.
class Form {
public:
    /// \param content_type  the request's; without a boundary the form is malformed from the start.
    explicit Form(std::string_view content_type);

    void feed(std::string_view bytes);

    /// The closing delimiter was seen and nothing was wrong.
    [[nodiscard]] bool complete() const noexcept { return state_ == State::done; }
    /// Value of a field that is not a file; empty if there was none.
    [[nodiscard]] std::string_view field(const std::string& name) const;
    [[nodiscard]] bool has_file() const noexcept { return has_file_; }
    [[nodiscard]] const std::string& file_name() const noexcept { return file_name_; }
    [[nodiscard]] std::uint64_t file_bytes() const noexcept { return file_bytes_; }
    [[nodiscard]] std::uint64_t file_hash() const noexcept { return file_hash_; }

private:
    enum class State : std::uint8_t { content, after_delimiter, head, done, failed };

    bool step();
    void start_part(std::string_view head);
    void take(std::string_view content);

    State state_;
    std::string delimiter_;   // CRLF, two dashes, boundary
    std::string pending_;     // not yet understood
    std::string field_name_;  // of the part being read; empty before the first part and in files
    bool in_file_ = false;
    bool has_file_ = false;
    std::string file_name_;
    std::uint64_t file_bytes_ = 0;
    std::uint64_t file_hash_;
    std::map<std::string, std::string> fields_;
};

}  // namespace llmproxy::upstream::mock
