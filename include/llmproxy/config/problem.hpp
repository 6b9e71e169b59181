#pragma once

#include <string>

namespace llmproxy::config {

/// One thing that is wrong in a configuration. Never holds the text of a secret.
struct Problem {
    std::string file;      ///< the file, or `environment`
    int line = 0;          ///< from 1; 0: no place in a file
    int column = 0;        ///< from 1
    std::string key;       ///< such as `backends[0].base_url`; empty when the file is not YAML
    std::string expected;  ///< what should have been there, and where it helps `; got ...`
    bool warning = false;  ///< accepted all the same

    /// `file:line:column: key: expected ...; got ...`
    [[nodiscard]] std::string to_string() const;
};

}  // namespace llmproxy::config
