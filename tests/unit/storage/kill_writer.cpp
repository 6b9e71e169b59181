#include "kill_writer.hpp"

#include "llmproxy/storage/sqlite_store.hpp"
#include "unit/net/loop.hpp"

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <cstdio>
#include <random>
#include <unistd.h>

namespace llmproxy::storage::test {
namespace {

constexpr int kClients = 16;

/// One line in one write: a reader sees it whole or not at all.
void say(const std::string& line)
{
    const auto whole = line + "\n";
    if (::write(STDOUT_FILENO, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) {
        ::_exit(3);
    }
}

core::Task<void> pause()
{
    co_await boost::asio::post(co_await boost::asio::this_coro::executor,
                               boost::asio::use_awaitable);
}

UsageRow row_of(const ReservationRecord& record, std::int64_t cost)
{
    UsageRow row;
    row.request = record.request;
    row.project = record.project;
    row.token = record.token;
    row.route = record.route;
    row.requested_model = record.model;
    row.cost = {cost};
    row.tokens.completion = cost % 100;
    row.status = 200;
    row.outcome = "ok";
    return row;
}

class Client {
public:
    Client(Store& store, unsigned seed) : store_(store), random_(seed) {}

    core::Task<bool> run()
    {
        for (;;) {
            const bool went_well = co_await one_request();
            if (!went_well) {
                co_return false;
            }
        }
    }

private:
    std::int64_t upto(std::int64_t most)
    {
        return std::uniform_int_distribution<std::int64_t>(0, most)(random_);
    }

    core::Task<bool> one_request()
    {
        ReservationRecord record;
        record.request = core::make_uuid7(std::chrono::system_clock::now());
        record.project = static_cast<core::ProjectId>(1 + upto(2));
        record.token = static_cast<core::TokenId>(1 + upto(9));
        record.cost = {1 + upto(100'000)};
        record.tokens = upto(5000);
        record.route = "chat_completions";
        record.model = "gpt-4o";
        const auto id = core::to_text(record.request);
        say("P " + id + " " + std::to_string(record.cost.count));
        auto held = co_await store_.reserve(record);
        if (!held) {
            co_return false;
        }
        say("R " + id);
        for (auto pauses = upto(5); pauses > 0; --pauses) {
            co_await pause();
        }
        const auto fate = upto(19);
        if (fate == 0) {
            say("C " + id);
            held->cancel();
            co_return true;
        }
        if (fate == 1) {
            co_return true;  // dropped
        }
        const auto cost = upto(record.cost.count);
        std::vector<UsageRow> rows{row_of(record, cost)};
        if (fate == 2) {
            rows.push_back(row_of(record, 0));
            rows.back().attempt = 2;
        }
        say("S " + id + " " + std::to_string(cost));
        Settlement settlement(std::move(*held), std::move(rows));
        const auto settled = co_await store_.settle(std::move(settlement));
        if (!settled) {
            co_return false;
        }
        say("A " + id);
        co_return true;
    }

    Store& store_;
    std::mt19937 random_;
};

}  // namespace

int run_kill_writer(const std::string& path, const std::string& durability, unsigned seed)
{
    SqliteOptions options;
    options.settings.path = path;
    options.settings.durability = durability == "power" ? Durability::power : Durability::process;
    options.reservations = 64;
    options.upkeep_interval = std::chrono::milliseconds(20);
    auto opened = open_sqlite(options);
    if (!opened) {
        std::fprintf(stderr, "%s\n", opened.error().describe().c_str());
        return 2;
    }
    net::test::Loop loop;
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<std::future<bool>> ends;
    for (unsigned i = 0; i < kClients; ++i) {
        clients.push_back(std::make_unique<Client>(**opened, seed * 1000 + i));
        ends.push_back(loop.start(clients.back()->run()));
    }
    for (auto& end : ends) {
        static_cast<void>(end.get());
    }
    return 2;
}

}  // namespace llmproxy::storage::test
