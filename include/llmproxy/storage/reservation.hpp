#pragma once

#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/money.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace llmproxy::storage {

/// What is noted of a request before anything of it is sent to an upstream.
struct ReservationRecord {
    core::Uuid request;  ///< UsageRow::request; its time decides the budget period
    core::ProjectId project = core::ProjectId::none;
    core::TokenId token = core::TokenId::none;
    core::NanoUsd cost;       ///< reserved
    std::int64_t tokens = 0;  ///< reserved
    std::string route;        ///< 23 bytes are kept
    std::string model;        ///< as requested; 63 bytes are kept
    std::string host;         ///< of tunnels and forwarded requests, in place of a model; the same
    std::string backend;      ///< if known; 31 bytes are kept
    bool stream = false;
};

/// A reservation held durably for one request under way; given by Store::reserve.
///
/// It ends in exactly one of three ways: settled (Store::settle takes it), cancelled (nothing was
/// sent), or dropped: then, or when the process dies first, it becomes a usage row with outcome
/// `kIndeterminate` and the reserved figures. Thread safety: one thread at a time. Lifetime: may
/// outlive the store; what is dropped then is found at the next start.
class Reservation {
public:
    /// Who keeps the slots. For implementations of Store.
    class Keeper {
    public:
        virtual ~Keeper() = default;
        virtual void cancel(std::uint32_t slot) noexcept = 0;
        virtual void drop(std::uint32_t slot) noexcept = 0;
        virtual void note_backend(std::uint32_t slot, std::string_view backend) noexcept = 0;
    };

    Reservation() noexcept = default;
    Reservation(std::shared_ptr<Keeper> keeper, std::uint32_t slot) noexcept
        : keeper_(std::move(keeper)), slot_(slot)
    {
    }
    Reservation(Reservation&& other) noexcept
        : keeper_(std::move(other.keeper_)), slot_(other.slot_)
    {
    }
    Reservation& operator=(Reservation&& other) noexcept
    {
        if (this != &other) {
            drop();
            keeper_ = std::move(other.keeper_);
            slot_ = other.slot_;
        }
        return *this;
    }
    ~Reservation() { drop(); }

    [[nodiscard]] explicit operator bool() const noexcept { return keeper_ != nullptr; }

    /// Gives it up without a trace: nothing was sent to any upstream.
    void cancel() noexcept
    {
        if (const auto keeper = std::exchange(keeper_, nullptr)) {
            keeper->cancel(slot_);
        }
    }

    /// Notes the backend chosen, for the row that is made should the process die. Costs no system
    /// call.
    void note_backend(std::string_view backend) noexcept
    {
        if (keeper_) {
            keeper_->note_backend(slot_, backend);
        }
    }

    /// Takes the slot out; what becomes of it is the caller's affair. For implementations of Store.
    [[nodiscard]] std::pair<std::shared_ptr<Keeper>, std::uint32_t> take() noexcept
    {
        return {std::exchange(keeper_, nullptr), slot_};
    }

private:
    void drop() noexcept
    {
        if (const auto keeper = std::exchange(keeper_, nullptr)) {
            keeper->drop(slot_);
        }
    }

    std::shared_ptr<Keeper> keeper_;
    std::uint32_t slot_ = 0;
};

}  // namespace llmproxy::storage
