#include "llmproxy/config/documents.hpp"

#include "field.hpp"
#include "scalar.hpp"

#include <string_view>

namespace llmproxy::config {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration reference

Made by `llm-proxy config reference` from the field table that also drives validation. Do not edit.

The file is YAML. A setting is its built-in default, unless the file gives it, unless the environment
gives it: the variable is `LLM_PROXY_` and the key in capitals with `_` for `.`, such as
`LLM_PROXY_SERVER_THREADS`. Keys inside lists, and keys whose value is a list or a mapping, cannot be
given by the environment.

- `${NAME}` in a value is replaced by the environment variable, `${NAME:-text}` by `text` when it is
  unset or empty; `$${` stands for `${`. An unset `${NAME}` is an error, except in `api_key` and
  `api_keys`, where it disables the backend with a warning.
- Durations are numbers with units: `10us`, `100ms`, `5s`, `3m`, `2h`, `1h30m`.
- Sizes are bytes, or numbers with units: `10KB` (1000), `32KiB` (1024), `32MiB`, `1GiB`.
- Amounts of money are US dollars with at most nine digits after the point: `2.50`.
- Relative paths are relative to the working directory.
- An unknown key, a wrong type and a value out of bounds stop the start with `file:line:column`, the
  key and what was expected; on reload the running configuration stays.

"Reload: no" means that a change takes effect at the next start.
)";

std::string escaped_cell(std::string_view text)
{
    std::string cell;
    for (const char c : text) {
        cell += c == '|' ? std::string("\\|") : std::string(1, c);
    }
    return cell;
}

std::string default_cell(const Field& field)
{
    if (field.required) {
        return "required";
    }
    if (field.default_text.empty()) {
        return field.type == Type::string || field.type == Type::path ||
                       field.type == Type::items_file
                   ? "`\"\"`"
                   : "-";
    }
    return "`" + escaped_cell(field.default_text) + "`";
}

std::string section_of(const Field& field)
{
    return field.path.substr(0, field.path.find_first_of(".["));
}

}  // namespace

std::string reference_markdown()
{
    std::string page(kIntroduction);
    std::string section;
    for (const auto& field : field_table()) {
        if (const auto name = section_of(field); name != section) {
            section = name;
            page += "\n## `" + section + "`\n\n";
            page += "| key | takes | default | reload | meaning |\n|---|---|---|---|---|\n";
        }
        page += "| `" + field.path + "` | " + escaped_cell(expectation(field)) + " | " +
                default_cell(field) + " | " + (field.reloadable ? "yes" : "no") + " | " +
                escaped_cell(field.description) + " |\n";
    }
    return page;
}

}  // namespace llmproxy::config
