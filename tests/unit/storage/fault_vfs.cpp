#include "fault_vfs.hpp"

#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <sqlite3.h>

namespace llmproxy::storage::test {
namespace {

constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::max();

std::atomic<std::int64_t> writes_made{0};
std::atomic<std::int64_t> writes_allowed{kAlways};
std::atomic<int> write_failure{SQLITE_OK};
std::atomic<bool> garbling{false};

int may_write()
{
    return writes_made.fetch_add(1) < writes_allowed ? SQLITE_OK : write_failure.load();
}

/// A file of ours; the file system's own follows in memory.
struct File {
    sqlite3_file base;
    bool database;

    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File* ours(sqlite3_file* file)
{
    return reinterpret_cast<File*>(file);
}

sqlite3_file* real(sqlite3_file* file)
{
    return ours(file)->real();
}

int close_file(sqlite3_file* file)
{
    return real(file)->pMethods->xClose(real(file));
}

int read_file(sqlite3_file* file, void* into, int size, sqlite3_int64 at)
{
    const int code = real(file)->pMethods->xRead(real(file), into, size, at);
    if (garbling && ours(file)->database && code == SQLITE_OK) {
        std::memset(into, 0xa5, static_cast<std::size_t>(size));
    }
    return code;
}

int write_file(sqlite3_file* file, const void* from, int size, sqlite3_int64 at)
{
    const int code = may_write();
    return code != SQLITE_OK ? code : real(file)->pMethods->xWrite(real(file), from, size, at);
}

int sync_file(sqlite3_file* file, int flags)
{
    const int code = may_write();
    return code != SQLITE_OK ? code : real(file)->pMethods->xSync(real(file), flags);
}

template <auto Method, typename... Values>
int pass(sqlite3_file* file, Values... values)
{
    return (real(file)->pMethods->*Method)(real(file), values...);
}

int map_shared(sqlite3_file* file, int page, int size, int extend, void volatile** mapped)
{
    return real(file)->pMethods->xShmMap(real(file), page, size, extend, mapped);
}

void barrier(sqlite3_file* file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

using Methods = sqlite3_io_methods;

const Methods kMethods{
    2,
    close_file,
    read_file,
    write_file,
    pass<&Methods::xTruncate, sqlite3_int64>,
    sync_file,
    pass<&Methods::xFileSize, sqlite3_int64*>,
    pass<&Methods::xLock, int>,
    pass<&Methods::xUnlock, int>,
    pass<&Methods::xCheckReservedLock, int*>,
    pass<&Methods::xFileControl, int, void*>,
    pass<&Methods::xSectorSize>,
    pass<&Methods::xDeviceCharacteristics>,
    map_shared,
    pass<&Methods::xShmLock, int, int, int>,
    barrier,
    pass<&Methods::xShmUnmap, int>,
    nullptr,
    nullptr,
};

sqlite3_vfs* system_vfs = nullptr;

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* given)
{
    auto* made = new (file) File{};
    made->database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    const int code = system_vfs->xOpen(system_vfs, name, made->real(), flags, given);
    made->base.pMethods = made->real()->pMethods == nullptr ? nullptr : &kMethods;
    return code;
}

}  // namespace

void FaultVfs::install()
{
    static sqlite3_vfs vfs = [] {
        system_vfs = sqlite3_vfs_find(nullptr);
        sqlite3_vfs made = *system_vfs;
        made.pNext = nullptr;
        made.zName = "faults";
        made.szOsFile = static_cast<int>(sizeof(File)) + system_vfs->szOsFile;
        made.xOpen = open_file;
        return made;
    }();
    sqlite3_vfs_register(&vfs, 1);
}

void FaultVfs::fail_writes_after(std::int64_t passes, int code)
{
    write_failure = code;
    writes_made = 0;
    writes_allowed = passes;
}

void FaultVfs::garble_reads()
{
    garbling = true;
}

void FaultVfs::heal()
{
    writes_allowed = kAlways;
    writes_made = 0;
    garbling = false;
}

std::int64_t FaultVfs::writes()
{
    return writes_made;
}

}  // namespace llmproxy::storage::test
