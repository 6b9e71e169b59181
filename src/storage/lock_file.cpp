#include "lock_file.hpp"

#include "store_error.hpp"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

namespace llmproxy::storage {
namespace {

std::string holder_of(int descriptor)
{
    std::array<char, 24> text{};
    const auto size = ::pread(descriptor, text.data(), text.size(), 0);
    std::string holder(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return holder.substr(0, holder.find('\n'));
}

}  // namespace

LockFile::LockFile(LockFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

LockFile& LockFile::operator=(LockFile&& other) noexcept
{
    std::swap(descriptor_, other.descriptor_);
    return *this;
}

LockFile::~LockFile()
{
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
}

core::Result<LockFile> LockFile::take(const std::string& database_path)
{
    const auto path = database_path + "-lock";
    LockFile lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (lock.descriptor_ < 0) {
        return system_failure(errno, "opening " + path);
    }
    if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            return system_failure(errno, "locking " + path);
        }
        return core::Failure(core::Errc::conflict, core::Origin::self,
                             database_path + " is in use by process " +
                                 holder_of(lock.descriptor_));
    }
    // Who holds it is a help for people only: a full disk is no reason to give up.
    const auto text = std::to_string(::getpid()) + "\n";
    if (::ftruncate(lock.descriptor_, 0) == 0) {
        static_cast<void>(::pwrite(lock.descriptor_, text.data(), text.size(), 0));
    }
    return lock;
}

}  // namespace llmproxy::storage
