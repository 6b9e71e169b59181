// What the store costs: bench_store [FOLDER] [ROWS] [TOKENS]. Prints CPU per settled request of the
// whole process, reservation included, for several numbers of clients at once, and the way of a
// token that no cache knows.
#include "llmproxy/storage/sqlite_store.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

namespace {

using namespace llmproxy;
using Clock = std::chrono::steady_clock;

double seconds_of(const timeval& time)
{
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double cpu_seconds()
{
    rusage use{};
    ::getrusage(RUSAGE_SELF, &use);
    return seconds_of(use.ru_utime) + seconds_of(use.ru_stime);
}

storage::UsageRow row_of(int client, std::int64_t number)
{
    storage::UsageRow row;
    row.request = core::make_uuid7(std::chrono::system_clock::now());
    row.project = static_cast<core::ProjectId>(1 + client % 8);
    row.token = static_cast<core::TokenId>(1 + client % 64);
    row.route = "chat_completions";
    row.backend = "openai";
    row.requested_model = "gpt-4o-mini";
    row.served_model = "gpt-4o-mini-2024-07-18";
    row.tokens.prompt = 1000 + number % 100;
    row.tokens.completion = 200;
    row.cost = {270'000};
    row.status = 200;
    row.outcome = "ok";
    row.finish_reason = "stop";
    row.stream = true;
    row.first_byte = std::chrono::milliseconds(320);
    row.duration = std::chrono::milliseconds(1900);
    row.bytes_in = 4096;
    row.bytes_out = 9000;
    return row;
}

struct Samples {
    std::vector<double> microseconds;

    void add(Clock::duration taken)
    {
        microseconds.push_back(std::chrono::duration<double, std::micro>(taken).count());
    }
    double at(double part)
    {
        std::sort(microseconds.begin(), microseconds.end());
        return microseconds.empty() ? 0
                                    : microseconds[static_cast<std::size_t>(
                                          part * static_cast<double>(microseconds.size() - 1))];
    }
};

/// \param pause  between the beginnings of two requests; zero: none
core::Task<void> client(storage::Store& store, int number, std::int64_t rows, Clock::duration pause,
                        Samples& samples)
{
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor,
                                    Clock::now() + number * pause / 64);
    for (std::int64_t i = 0; i < rows; ++i) {
        if (pause > Clock::duration::zero()) {
            co_await timer.async_wait(boost::asio::use_awaitable);
            timer.expires_at(std::max(timer.expiry() + pause, Clock::now()));
        }
        auto row = row_of(number, i);
        storage::ReservationRecord record;
        record.request = row.request;
        record.project = row.project;
        record.token = row.token;
        record.cost = {500'000};
        record.tokens = 2000;
        record.route = row.route;
        record.model = row.requested_model;
        auto held = co_await store.reserve(std::move(record));
        if (!held) {
            std::fprintf(stderr, "%s\n", held.error().describe().c_str());
            std::exit(1);
        }
        std::vector<storage::UsageRow> all;
        all.push_back(std::move(row));
        storage::Settlement settlement(std::move(*held), std::move(all));
        const auto begun = Clock::now();
        const auto settled = co_await store.settle(std::move(settlement));
        if (!settled) {
            std::fprintf(stderr, "%s\n", settled.error().describe().c_str());
            std::exit(1);
        }
        samples.add(Clock::now() - begun);
    }
}

void run(boost::asio::io_context& io, int threads)
{
    std::vector<std::thread> pool;
    for (int i = 0; i < threads; ++i) {
        pool.emplace_back([&io] { io.run(); });
    }
    for (auto& thread : pool) {
        thread.join();
    }
    io.restart();
}

std::shared_ptr<storage::Store> open_store(const std::string& path, storage::Durability durability)
{
    storage::SqliteOptions options;
    options.settings.path = path;
    options.settings.durability = durability;
    auto opened = storage::open_sqlite(options);
    if (!opened) {
        std::fprintf(stderr, "%s\n", opened.error().describe().c_str());
        std::exit(1);
    }
    return *opened;
}

void settle_rows(const std::string& folder, storage::Durability durability, int clients,
                 std::int64_t rows, std::int64_t rate = 0)
{
    const auto path = folder + "/bench.db";
    boost::asio::io_context io;
    auto store = open_store(path, durability);
    const auto pause =
        rate == 0 ? Clock::duration::zero() : Clock::duration(std::chrono::seconds(clients)) / rate;
    std::vector<Samples> samples(static_cast<std::size_t>(clients));
    for (int i = 0; i < clients; ++i) {
        boost::asio::co_spawn(
            boost::asio::make_strand(io),
            client(*store, i, rows / clients, pause, samples[static_cast<std::size_t>(i)]),
            [](const std::exception_ptr&) {});
    }
    const auto before = store->stats();
    const auto cpu = cpu_seconds();
    const auto begun = Clock::now();
    run(io, 2);
    const auto took = std::chrono::duration<double>(Clock::now() - begun).count();
    const auto used = cpu_seconds() - cpu;
    const auto after = store->stats();
    Samples all;
    for (const auto& some : samples) {
        all.microseconds.insert(all.microseconds.end(), some.microseconds.begin(),
                                some.microseconds.end());
    }
    const auto settled = static_cast<double>(all.microseconds.size());
    const auto commits = static_cast<double>(after.commits - before.commits);
    std::printf(
        "%-8s %4d clients: %8.0f rows/s, %6.1f rows per commit, writer %5.1f us/row, CPU "
        "%5.1f us/row in all, settle p50 %6.0f p90 %6.0f p99 %6.0f us; %llu checkpoints, %.1f ms "
        "each, commit %.3f ms\n",
        durability == storage::Durability::power ? "power" : "process", clients, settled / took,
        settled / commits,
        static_cast<double>(after.commit_nanoseconds - before.commit_nanoseconds) / 1e3 / settled,
        used / settled * 1e6, all.at(0.5), all.at(0.9), all.at(0.99),
        static_cast<unsigned long long>(after.checkpoints - before.checkpoints),
        static_cast<double>(after.checkpoint_nanoseconds - before.checkpoint_nanoseconds) / 1e6 /
            std::max<double>(1, static_cast<double>(after.checkpoints - before.checkpoints)),
        static_cast<double>(after.commit_nanoseconds - before.commit_nanoseconds) / 1e6 / commits);
    store.reset();
}

storage::TokenRow token_of(std::int64_t number)
{
    storage::TokenRow row;
    row.project = static_cast<core::ProjectId>(1);
    row.name = "token " + std::to_string(number);
    auto value = static_cast<std::uint64_t>(number) * 0x9e37'79b9'7f4a'7c15ULL;
    for (auto& byte : row.hash) {
        value ^= value >> 29U;
        value *= 0xbf58'476d'1ce4'e5b9ULL;
        byte = static_cast<std::uint8_t>(value >> 56U);
    }
    row.prefix = "llmp_1234";
    return row;
}

core::Task<void> add_tokens(storage::Store& store, std::int64_t first, std::int64_t count)
{
    for (auto i = first; i < first + count; ++i) {
        auto row = token_of(i);
        storage::AuditRow audit;
        const auto added = co_await store.put_token(std::move(row), std::move(audit));
        if (!added) {
            std::fprintf(stderr, "%s\n", added.error().describe().c_str());
            std::exit(1);
        }
    }
}

core::Task<void> look_up(storage::Store& store, std::int64_t tokens, int times, Samples& samples)
{
    for (int i = 0; i < times; ++i) {
        const auto hash = token_of((std::int64_t{i} * 7919) % tokens).hash;
        const auto begun = Clock::now();
        const auto found = co_await store.access(hash);
        samples.add(Clock::now() - begun);
        if (!found || !*found) {
            std::fprintf(stderr, "a token is missing\n");
            std::exit(1);
        }
    }
}

void look_up_tokens(const std::string& folder, std::int64_t tokens)
{
    const auto path = folder + "/tokens.db";
    boost::asio::io_context io;
    const auto spawn = [&io](core::Task<void> task) {
        boost::asio::co_spawn(boost::asio::make_strand(io), std::move(task),
                              [](const std::exception_ptr&) {});
    };
    {
        auto store = open_store(path, storage::Durability::process);
        storage::ProjectRow project;
        project.name = "bench";
        boost::asio::co_spawn(
            io, store->put_project(project, {}),
            [](const std::exception_ptr&, const core::Result<storage::ProjectRow>&) {});
        run(io, 1);
        for (int i = 0; i < 256; ++i) {
            spawn(add_tokens(*store, tokens / 256 * i, tokens / 256));
        }
        run(io, 2);
    }
    const auto begun = Clock::now();
    auto store = open_store(path, storage::Durability::process);
    const auto took = std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
    Samples samples;
    constexpr int kTimes = 20'000;
    const auto cpu = cpu_seconds();
    spawn(look_up(*store, tokens / 256 * 256, kTimes, samples));
    run(io, 1);
    std::printf("%lld tokens: open %.1f ms, look-up p50 %.0f p99 %.0f us, CPU %.1f us in all\n",
                static_cast<long long>(tokens), took, samples.at(0.5), samples.at(0.99),
                (cpu_seconds() - cpu) / kTimes * 1e6);
}

}  // namespace

int main(int argc, char** argv)
{
    const std::string folder =
        (argc > 1 ? std::string(argv[1]) : std::filesystem::temp_directory_path().string()) +
        "/bench_store-" + std::to_string(::getpid());
    const std::int64_t rows = argc > 2 ? std::atoll(argv[2]) : 200'000;
    const std::int64_t tokens = argc > 3 ? std::atoll(argv[3]) : 100'000;
    std::filesystem::create_directories(folder);
    for (const int clients : {1, 8, 64, 512}) {
        settle_rows(folder, storage::Durability::process, clients, clients == 1 ? rows / 10 : rows);
    }
    for (const int clients : {1, 64}) {
        settle_rows(folder, storage::Durability::power, clients, rows / 10);
    }
    for (const int rate : {500, 2000, 8000}) {
        settle_rows(folder, storage::Durability::process, 64, rate * 10, rate);
    }
    settle_rows(folder, storage::Durability::power, 64, 20'000, 2000);
    if (tokens > 0) {
        look_up_tokens(folder, tokens);
    }
    std::filesystem::remove_all(folder);
    return 0;
}
