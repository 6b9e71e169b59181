#include "kill_writer.hpp"
#include "store_fixture.hpp"

#include <cerrno>
#include <cstdlib>
#include <gmock/gmock.h>
#include <map>
#include <random>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace llmproxy::storage {
namespace {

using testing::IsEmpty;

/// What is known of a request from what the killed process said.
struct Told {
    std::int64_t reserved = 0;
    bool has_reservation = false;
    std::optional<std::int64_t> settling;
    bool acknowledged = false;
    bool cancelling = false;
};

using Story = std::map<core::Uuid, Told>;

/// The process that is killed: starts it, reads what it says, kills it.
class Victim {
public:
    Victim(const std::string& path, const std::string& durability, unsigned seed)
    {
        int ends[2];
        if (::pipe(ends) != 0) {
            throw std::runtime_error("no pipe");
        }
        const auto number = std::to_string(seed);
        process_ = ::fork();
        if (process_ == 0) {
            ::dup2(ends[1], STDOUT_FILENO);
            ::close(ends[0]);
            ::close(ends[1]);
            ::execl("/proc/self/exe", "unit_storage", test::kKillWriter, path.c_str(),
                    durability.c_str(), number.c_str(), nullptr);
            ::_exit(127);
        }
        ::close(ends[1]);
        output_ = ends[0];
    }
    Victim(const Victim&) = delete;
    Victim& operator=(const Victim&) = delete;
    ~Victim()
    {
        ::close(output_);
        if (process_ > 0) {
            ::kill(process_, SIGKILL);
            ::waitpid(process_, nullptr, 0);
        }
    }

    /// Lets it live until it has said that many lines, then kills it. Returns all that it said.
    std::string live_for(std::size_t lines)
    {
        std::string said;
        std::size_t seen = 0;
        bool killed = false;
        char piece[4096];
        for (;;) {
            const auto size = ::read(output_, piece, sizeof piece);
            if (size < 0 && errno == EINTR) {
                continue;
            }
            if (size <= 0) {
                break;
            }
            said.append(piece, static_cast<std::size_t>(size));
            seen += static_cast<std::size_t>(std::count(piece, piece + size, '\n'));
            if (seen >= lines && !killed) {
                ::kill(process_, SIGKILL);
                killed = true;
            }
        }
        int status = 0;
        ::waitpid(process_, &status, 0);
        process_ = -1;
        EXPECT_TRUE(killed && WIFSIGNALED(status)) << "it ended by itself: " << status;
        return said;
    }

private:
    pid_t process_ = -1;
    int output_ = -1;
};

void add_to(Story& story, const std::string& said)
{
    std::istringstream lines(said);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        char what = 0;
        std::string id_text;
        std::int64_t number = 0;
        words >> what >> id_text >> number;
        const auto id = core::parse_uuid(id_text);
        ASSERT_TRUE(id) << line;
        auto& told = story[*id];
        switch (what) {
        case 'P': told.reserved = number; break;
        case 'R': told.has_reservation = true; break;
        case 'S': told.settling = number; break;
        case 'A': told.acknowledged = true; break;
        case 'C': told.cancelling = true; break;
        default: FAIL() << line;
        }
    }
}

class StoreKill : public test::StoreFixture {
protected:
    /// All rows by request, attempts added up. A second row for an attempt cannot be: it is the
    /// key.
    std::map<core::Uuid, std::vector<UsageRow>> rows_by_request()
    {
        std::map<core::Uuid, std::vector<UsageRow>> rows;
        PageRequest page(1000);
        do {
            auto part = must(store().usage({}, page));
            for (auto& row : part.rows) {
                rows[row.request].push_back(std::move(row));
            }
            page.cursor = part.next;
        } while (!page.cursor.empty());
        return rows;
    }

    void compare(const Story& story)
    {
        const auto rows = rows_by_request();
        for (const auto& [id, told] : story) {
            const auto found = rows.find(id);
            if (found == rows.end()) {
                EXPECT_FALSE(told.acknowledged) << core::to_text(id) << " was lost";
                EXPECT_TRUE(!told.has_reservation || told.cancelling)
                    << core::to_text(id) << " was reserved and left no trace";
                continue;
            }
            const auto& attempts = found->second;
            if (attempts.front().outcome == kIndeterminate) {
                EXPECT_FALSE(told.acknowledged) << core::to_text(id) << " was settled";
                EXPECT_EQ(attempts.size(), 1U);
                EXPECT_EQ(attempts.front().cost.count, told.reserved);
            } else {
                ASSERT_TRUE(told.settling) << core::to_text(id);
                EXPECT_EQ(attempts.front().cost.count, *told.settling);
            }
        }
        for (const auto& [id, attempts] : rows) {
            EXPECT_TRUE(story.contains(id)) << core::to_text(id) << " came from nowhere";
        }
    }

    void kill_often(const std::string& durability, int times)
    {
        std::mt19937 random(20);
        Story story;
        for (int i = 0; i < times; ++i) {
            const auto seed = static_cast<unsigned>(random());
            Victim victim(path(), durability, seed % 100'000);
            add_to(story, victim.live_for(1 + random() % 3000));
            if (HasFailure()) {
                return;
            }
            open();  // recovers
            const auto stats = store().stats();
            EXPECT_EQ(stats.reservations, 0U);
            close();
            EXPECT_THAT(problems(), IsEmpty()) << "after kill " << i;
        }
        open();
        compare(story);
    }

    static int times(int ordinarily)
    {
        const char* wanted = std::getenv("LLMPROXY_KILLS");
        return wanted == nullptr ? ordinarily : std::atoi(wanted);
    }
};

TEST_F(StoreKill, LosesNothingAcknowledgedAndNothingReserved)
{
    kill_often("process", times(5));
}

TEST_F(StoreKill, LosesNothingWithDurabilityPowerEither)
{
    kill_often("power", times(2));
}

}  // namespace
}  // namespace llmproxy::storage
