#include "backup.hpp"

#include "store_error.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

namespace llmproxy::storage {
namespace {

constexpr int kPagesInOneStep = 256;
constexpr std::chrono::seconds kPatience{5};

/// The new file, which stays only if the copy is complete: made at once, so that nobody else takes
/// the name.
class NewFile {
public:
    explicit NewFile(const std::string& path) : path_(path), partial_(path + ".partial")
    {
        const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        error_ = descriptor < 0 ? errno : 0;
        if (descriptor >= 0) {
            ::close(descriptor);
        }
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile()
    {
        if (error_ == 0 && !kept_) {
            ::unlink(partial_.c_str());
            ::unlink((partial_ + "-journal").c_str());
            ::unlink(path_.c_str());
        }
    }

    [[nodiscard]] const std::string& partial() const noexcept { return partial_; }

    [[nodiscard]] core::Result<void> made() const
    {
        if (error_ == EEXIST) {
            return core::Failure(core::Errc::conflict, core::Origin::client,
                                 path_ + " exists already");
        }
        if (error_ != 0) {
            return system_failure(error_, "making " + path_);
        }
        return {};
    }

    core::Result<void> keep()
    {
        if (::rename(partial_.c_str(), path_.c_str()) != 0) {
            return system_failure(errno, "renaming " + partial_);
        }
        kept_ = true;
        return {};
    }

private:
    std::string path_;
    std::string partial_;
    int error_ = 0;
    bool kept_ = false;
};

struct FinishBackup {
    void operator()(sqlite3_backup* backup) const noexcept { sqlite3_backup_finish(backup); }
};

core::Result<void> copy_pages(Database& source, Database& target)
{
    const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
        sqlite3_backup_init(target.handle(), "main", source.handle(), "main"));
    if (!backup) {
        return target.failure(target.error_code(), "beginning the copy");
    }
    int code = SQLITE_OK;
    while (code == SQLITE_OK && !source.stopped()) {
        code = sqlite3_backup_step(backup.get(), kPagesInOneStep);
    }
    if (code == SQLITE_DONE) {
        return {};
    }
    if (code == SQLITE_OK) {
        return store_failure(StoreState::closed, "the store was closed during the copy");
    }
    return target.failure(code, "copying");
}

core::Result<void> make_private(const std::string& path)
{
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        return system_failure(errno, "making " + path);
    }
    ::close(descriptor);
    return {};
}

}  // namespace

core::Result<void> copy_database(Database& source, const std::string& path)
{
    NewFile file(path);
    if (auto made = file.made(); !made) {
        return made;
    }
    if (auto made = make_private(file.partial()); !made) {
        return made;
    }
    // While it reads, every step copies from the same moment, whatever is written meanwhile.
    Transaction moment(source, "BEGIN");
    if (!moment.begun()) {
        return moment.begun();
    }
    {
        Query begin(source, "SELECT count(*) FROM meta");
        if (auto begun = begin.run(); !begun) {
            return begun;
        }
        auto target = Database::open(file.partial(), Database::Mode::read_write, kPatience);
        if (!target) {
            return target.error();
        }
        if (auto set = target->run("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL");
            !set) {
            return set;
        }
        if (auto copied = copy_pages(source, *target); !copied) {
            return copied;
        }
    }
    return file.keep();
}

}  // namespace llmproxy::storage
