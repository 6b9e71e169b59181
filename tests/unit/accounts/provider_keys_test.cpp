#include "llmproxy/accounts/provider_keys.hpp"

#include "unit/storage/store_fixture.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace llmproxy::accounts {
namespace {

using core::Errc;

const std::string kCanary = "sk-canary-77aa-this-is-nowhere-in-clear";

/// Two projects, and a vault that can be exchanged.
class ProviderKeysTest : public storage::test::StoreFixture {
protected:
    ProviderKeysTest()
    {
        open();
        mine_ = add_project("mine").id;
        others_ = add_project("others").id;
        use(vault('a'));
    }
    static std::shared_ptr<const KeyVault> vault(char current, std::string older = {})
    {
        std::vector<core::Secret> old;
        for (const char fill : older) {
            old.emplace_back(std::string(32, fill));
        }
        return std::make_shared<const KeyVault>(
            *KeyVault::make(core::Secret(std::string(32, current)), std::move(old)));
    }
    void use(std::shared_ptr<const KeyVault> with)
    {
        keys_ = std::make_unique<ProviderKeys>(
            std::shared_ptr<storage::Store>(std::shared_ptr<void>(), &store()), std::move(with));
    }
    static storage::ProviderKeyRow row(core::ProjectId project, std::string backend,
                                       std::string name)
    {
        storage::ProviderKeyRow made;
        made.project = project;
        made.backend = std::move(backend);
        made.name = std::move(name);
        return made;
    }
    storage::ProviderKeyRow put(storage::ProviderKeyRow into, const std::string& key)
    {
        return must(keys_->put(std::move(into), core::Secret(key), by("tester")));
    }
    /// The keys in clear, or what went wrong.
    std::vector<std::string> of(core::ProjectId project, const std::string& backend)
    {
        const auto found = wait(keys_->of(project, backend));
        if (!found) {
            return {found.error().describe()};
        }
        std::vector<std::string> texts;
        for (const auto& key : *found ? **found : ProviderKeys::Keys()) {
            texts.push_back(key.reveal());
        }
        return texts;
    }

    core::ProjectId mine_{};
    core::ProjectId others_{};
    std::unique_ptr<ProviderKeys> keys_;
};

using Texts = std::vector<std::string>;

TEST_F(ProviderKeysTest, GivesAProjectItsOwnKeysAndNoOthers)
{
    put(row(mine_, "openai", "first"), "key-1");
    put(row(mine_, "openai", "second"), "key-2");
    put(row(mine_, "local", "first"), "key-3");
    put(row(others_, "openai", "first"), "key-4");
    EXPECT_EQ(of(mine_, "openai"), (Texts{"key-1", "key-2"}));
    EXPECT_EQ(of(mine_, "local"), Texts{"key-3"});
    EXPECT_EQ(of(mine_, "none"), Texts{});
    EXPECT_EQ(of(others_, "openai"), Texts{"key-4"});
    EXPECT_EQ(of(core::ProjectId::none, "openai"), Texts{});
}

TEST_F(ProviderKeysTest, RemembersWhatItReadUntilItChanges)
{
    EXPECT_FALSE(keys_->recall(mine_, "openai"));
    EXPECT_EQ(of(mine_, "openai"), Texts{});
    ASSERT_TRUE(keys_->recall(mine_, "openai"));
    EXPECT_EQ(*keys_->recall(mine_, "openai"), nullptr);
    auto stored = put(row(mine_, "openai", "first"), "key-1");
    EXPECT_FALSE(keys_->recall(mine_, "openai"));
    EXPECT_EQ(of(mine_, "openai"), Texts{"key-1"});
    EXPECT_TRUE(keys_->recall(mine_, "openai"));
    stored = put(stored, "key-2");
    EXPECT_EQ(stored.version, 2);
    EXPECT_EQ(of(mine_, "openai"), Texts{"key-2"});
    EXPECT_TRUE(must(store().remove_provider_key(stored.id, by("tester"))));
    EXPECT_EQ(of(mine_, "openai"), Texts{"key-2"});
    keys_->changed(mine_);
    EXPECT_EQ(of(mine_, "openai"), Texts{});
}

TEST_F(ProviderKeysTest, OpensNothingThatWasMovedToAnotherProject)
{
    const auto stolen = put(row(others_, "openai", "main"), kCanary);
    auto copy = row(mine_, "openai", "main");
    copy.master_key = stolen.master_key;
    copy.sealed = stolen.sealed;
    (void)must(store().put_provider_key(copy, by("thief")));
    const auto found = wait(keys_->of(mine_, "openai"));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().errc(), Errc::internal);
    EXPECT_EQ(found.error().describe().find(kCanary), std::string::npos);
    EXPECT_EQ(of(others_, "openai"), Texts{kCanary});
}

TEST_F(ProviderKeysTest, LeavesNoKeyInTheFilesOfTheStore)
{
    put(row(mine_, "openai", "main"), kCanary);
    EXPECT_EQ(of(mine_, "openai"), Texts{kCanary});
    close();
    for (const auto* suffix : {"", "-wal", "-shm", "-reservations"}) {
        std::ifstream file(path() + suffix, std::ios::binary);
        const std::string bytes(std::istreambuf_iterator<char>(file), {});
        EXPECT_EQ(bytes.find("canary"), std::string::npos) << suffix;
        EXPECT_TRUE(*suffix != '\0' || bytes.find("openai") != std::string::npos);
    }
}

TEST_F(ProviderKeysTest, SealsAllAnewForAnotherMasterKey)
{
    for (int i = 0; i < 7; ++i) {
        put(row(i % 2 == 0 ? mine_ : others_, "openai", "k" + std::to_string(i)), "key");
    }
    use(vault('b', "a"));
    put(row(mine_, "local", "new"), "new");
    EXPECT_EQ(must(keys_->reseal_all(by("tester"))), 7U);
    EXPECT_EQ(must(keys_->reseal_all(by("tester"))), 0U);
    use(vault('b'));
    EXPECT_EQ(of(mine_, "openai"), (Texts{"key", "key", "key", "key"}));
    EXPECT_EQ(of(others_, "openai").size(), 3U);
    EXPECT_EQ(of(mine_, "local"), Texts{"new"});
}

TEST_F(ProviderKeysTest, SealsNothingAnewThatDoesNotOpen)
{
    put(row(mine_, "openai", "main"), "key");
    use(vault('b'));
    EXPECT_EQ(wait(keys_->reseal_all(by("tester"))).error().errc(), Errc::internal);
    use(vault('a'));
    EXPECT_EQ(of(mine_, "openai"), Texts{"key"});
}

TEST_F(ProviderKeysTest, NeedsAMasterKey)
{
    put(row(mine_, "openai", "main"), "key");
    use(nullptr);
    EXPECT_EQ(
        wait(keys_->put(row(mine_, "openai", "b"), core::Secret("k"), by("tester"))).error().errc(),
        Errc::bad_request);
    EXPECT_EQ(wait(keys_->of(mine_, "openai")).error().errc(), Errc::internal);
    EXPECT_EQ(of(others_, "openai"), Texts{});
    EXPECT_EQ(wait(keys_->reseal_all(by("tester"))).error().errc(), Errc::bad_request);
    const ProviderKeys without(nullptr, nullptr);
    EXPECT_EQ(*without.recall(mine_, "openai"), nullptr);
}

}  // namespace
}  // namespace llmproxy::accounts
