#include "store_error.hpp"

#include <sqlite3.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace llmproxy::storage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

class StateCategory final : public boost::system::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "store"; }
    [[nodiscard]] std::string message(int value) const override
    {
        return std::string(word_of(static_cast<StoreState>(value)));
    }
};

const StateCategory& state_category() noexcept
{
    static const StateCategory category;
    return category;
}

StoreState state_of_errno(int error) noexcept
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return StoreState::full;
    case EROFS:
    case EACCES:
    case EPERM: return StoreState::read_only;
    default: return StoreState::failed;
    }
}

StoreState state_of_sqlite(sqlite3* database, int code) noexcept
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return StoreState::busy;
    case SQLITE_FULL: return StoreState::full;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return StoreState::corrupt;
    case SQLITE_READONLY:
    case SQLITE_PERM: return StoreState::read_only;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return state_of_errno(database == nullptr ? 0 : sqlite3_system_errno(database));
    default: return StoreState::failed;
    }
}

}  // namespace

std::string_view word_of(StoreState state) noexcept
{
    static constexpr std::array<std::string_view, 7> kWords{
        "ok", "busy", "full", "corrupt", "read_only", "failed", "closed"};
    const auto index = static_cast<std::size_t>(state);
    return index < kWords.size() ? kWords[index] : "failed";
}

Failure store_failure(StoreState state, std::string detail)
{
    return {Errc::store_unavailable,
            Origin::self,
            std::move(detail),
            {static_cast<int>(state), state_category()}};
}

Failure sqlite_failure(sqlite3* database, int code, std::string_view doing)
{
    std::string detail(doing);
    if (code == SQLITE_INTERRUPT) {
        return {Errc::overloaded, Origin::self, detail + ": given up"};
    }
    detail += ": ";
    detail += database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database);
    detail += " (SQLite " + std::to_string(code);
    if (const int error = database == nullptr ? 0 : sqlite3_system_errno(database);
        (code & 0xff) == SQLITE_IOERR && error != 0) {
        detail += ", " + std::generic_category().message(error);
    }
    return store_failure(state_of_sqlite(database, code), detail + ")");
}

Failure system_failure(int error, std::string_view doing)
{
    return store_failure(state_of_errno(error),
                         std::string(doing) + ": " + std::generic_category().message(error));
}

StoreState state_of(const Failure& failure) noexcept
{
    return failure.cause().category() == state_category()
               ? static_cast<StoreState>(failure.cause().value())
               : StoreState::ok;
}

}  // namespace llmproxy::storage
