#include "llmproxy/config/load.hpp"

#include "reader.hpp"
#include "tree.hpp"
#include "validate.hpp"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <unistd.h>

namespace llmproxy::config {

std::string Problem::to_string() const
{
    std::string text = file;
    if (line > 0) {
        text += ":" + std::to_string(line) + ":" + std::to_string(column);
    }
    text += warning ? ": warning: " : ": ";
    if (!key.empty()) {
        text += key + ": ";
    }
    return expected.empty() ? text : text + "expected " + expected;
}

Environment process_environment()
{
    Environment variables;
    for (auto** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const auto equals = text.find('=');
        if (equals != std::string_view::npos) {
            variables.emplace(text.substr(0, equals), text.substr(equals + 1));
        }
    }
    return variables;
}

Loaded load_text(std::string_view text, std::string file, const Environment& environment)
{
    Loaded loaded;
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->file = std::move(file);
    const auto document = parse_yaml(text, snapshot->file, loaded.problems);
    if (!loaded.problems.empty()) {
        return loaded;
    }
    Reader(*snapshot, environment, loaded.problems).read(document);
    validate(*snapshot, loaded.problems);
    if (loaded.problems.empty()) {
        loaded.snapshot = std::move(snapshot);
    }
    return loaded;
}

Loaded load_file(const std::string& path, const Environment& environment)
{
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream text;
    if (stream.peek() != std::ifstream::traits_type::eof()) {
        text << stream.rdbuf();
    }
    if (!stream.is_open() || stream.bad()) {
        const auto reason = std::generic_category().message(errno == 0 ? EIO : errno);
        return {nullptr, {{path, 0, 0, {}, "a readable file; got: " + reason}}};
    }
    return load_text(text.str(), path, environment);
}

Loaded load_with_files(const std::string& path, const Environment& environment)
{
    auto loaded = load_file(path, environment);
    if (!loaded.snapshot) {
        return loaded;
    }
    auto checked = std::make_shared<Snapshot>(*loaded.snapshot);
    for (auto& problem : check_files(*checked)) {
        if (problem.warning) {
            checked->warnings.push_back(problem.to_string());
        } else {
            loaded.problems.push_back(std::move(problem));
        }
    }
    loaded.snapshot = loaded.problems.empty() ? std::move(checked) : nullptr;
    return loaded;
}

}  // namespace llmproxy::config
