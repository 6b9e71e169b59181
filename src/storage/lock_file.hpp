#pragma once

#include "llmproxy/core/failure.hpp"

#include <string>

namespace llmproxy::storage {

/// Holds the store's lock file `<path>-lock`, so that one program writes. The system lets go of it
/// when the process ends, however it ends; the file itself stays.
class LockFile {
public:
    /// Does not wait. Fails with Errc::conflict when another program has it, telling its process
    /// id.
    [[nodiscard]] static core::Result<LockFile> take(const std::string& database_path);

    LockFile(LockFile&& other) noexcept;
    LockFile& operator=(LockFile&& other) noexcept;
    ~LockFile();

private:
    explicit LockFile(int descriptor) noexcept : descriptor_(descriptor) {}
    int descriptor_;
};

}  // namespace llmproxy::storage
