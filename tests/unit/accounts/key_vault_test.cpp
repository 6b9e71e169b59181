#include "llmproxy/accounts/key_vault.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace llmproxy::accounts {
namespace {

const std::string kCanary = "sk-canary-5d1f7a99-never-in-clear";

core::Secret master(char fill)
{
    return core::Secret(std::string(32, fill));
}

KeyVault vault(core::Secret current, std::vector<core::Secret> older = {})
{
    auto made = KeyVault::make(std::move(current), std::move(older));
    EXPECT_TRUE(made);
    return std::move(*made);
}

storage::ProviderKeyRow row_of(std::int64_t project, std::string backend = "openai",
                               std::string name = "main")
{
    storage::ProviderKeyRow row;
    row.id = 5;
    row.project = core::ProjectId{project};
    row.backend = std::move(backend);
    row.name = std::move(name);
    return row;
}

TEST(KeyVault, OpensWhatItSealed)
{
    const auto keys = vault(master('m'));
    for (const std::size_t size : {1U, 15U, 16U, 17U, 33U, 4096U, 65536U}) {
        auto row = row_of(1);
        const std::string key(size, 'k');
        ASSERT_TRUE(keys.seal(row, core::Secret(key)));
        const auto opened = keys.open(row);
        ASSERT_TRUE(opened) << size;
        EXPECT_EQ(opened->reveal(), key);
    }
    auto row = row_of(1);
    EXPECT_FALSE(keys.seal(row, core::Secret()));
    EXPECT_FALSE(keys.seal(row, core::Secret(std::string(65537, 'k'))));
    EXPECT_EQ(row.sealed, "");
}

TEST(KeyVault, KeepsTheKeyOutOfTheRow)
{
    const auto keys = vault(master('m'));
    auto row = row_of(1);
    ASSERT_TRUE(keys.seal(row, core::Secret(kCanary)));
    for (const auto& text : {row.sealed, row.master_key, row.hint}) {
        EXPECT_EQ(text.find("canary"), std::string::npos);
        EXPECT_EQ(text.find(std::string(8, 'm')), std::string::npos);
    }
    EXPECT_EQ(row.hint, "lear");
    EXPECT_EQ(row.sealed.size(), 12 + kCanary.size() + 16);
    ASSERT_TRUE(keys.seal(row, core::Secret("short")));
    EXPECT_EQ(row.hint, "");
}

TEST(KeyVault, SealsTheSameKeyDifferentlyEachTime)
{
    const auto keys = vault(master('m'));
    std::set<std::string> nonces;
    std::set<std::string> sealed;
    for (int i = 0; i < 200; ++i) {
        auto row = row_of(1);
        ASSERT_TRUE(keys.seal(row, core::Secret(kCanary)));
        nonces.insert(row.sealed.substr(0, 12));
        sealed.insert(row.sealed.substr(12));
    }
    EXPECT_EQ(nonces.size(), 200U);
    EXPECT_EQ(sealed.size(), 200U);
}

TEST(KeyVault, OpensNoKeyInAnotherRow)
{
    const auto keys = vault(master('m'));
    auto mine = row_of(1, "openai", "main");
    ASSERT_TRUE(keys.seal(mine, core::Secret(kCanary)));
    const auto with_sealed = [&](storage::ProviderKeyRow other) {
        other.master_key = mine.master_key;
        other.sealed = mine.sealed;
        return keys.open(other);
    };
    EXPECT_TRUE(with_sealed(row_of(1, "openai", "main")));
    for (const auto& other :
         {row_of(2, "openai", "main"), row_of(1, "other", "main"), row_of(1, "openai", "other"),
          row_of(1, "openaimain", ""), row_of(1, "openaim", "ain"), row_of(-1, "openai", "main")}) {
        const auto opened = with_sealed(other);
        ASSERT_FALSE(opened);
        EXPECT_EQ(opened.error().errc(), core::Errc::internal);
        EXPECT_EQ(opened.error().detail(),
                  "provider key 5 was not sealed for its row, or is damaged");
    }
}

TEST(KeyVault, FindsEveryDamage)
{
    const auto keys = vault(master('m'));
    auto row = row_of(1);
    ASSERT_TRUE(keys.seal(row, core::Secret("0123456789")));
    const auto whole = row.sealed;
    for (std::size_t i = 0; i < whole.size(); ++i) {
        row.sealed = whole;
        row.sealed[i] = static_cast<char>(row.sealed[i] ^ 1);
        EXPECT_FALSE(keys.open(row)) << i;
        row.sealed = whole.substr(0, i);
        EXPECT_FALSE(keys.open(row)) << i;
    }
    row.sealed = whole + "x";
    EXPECT_FALSE(keys.open(row));
    row.sealed = whole;
    EXPECT_TRUE(keys.open(row));
}

TEST(KeyVault, NeedsTheMasterKeyThatSealed)
{
    const auto before = vault(master('a'));
    auto row = row_of(1);
    ASSERT_TRUE(before.seal(row, core::Secret(kCanary)));
    const auto other = vault(master('b')).open(row);
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().detail().find(row.master_key), std::string::npos);
    auto renamed = row;
    renamed.master_key = KeyVault::name_of(master('b'));
    EXPECT_FALSE(vault(master('b')).open(renamed));
}

TEST(KeyVault, SealsAnewForAnotherMasterKey)
{
    auto row = row_of(1);
    ASSERT_TRUE(vault(master('a')).seal(row, core::Secret(kCanary)));
    const auto both = vault(master('b'), {master('a')});
    EXPECT_FALSE(both.is_current(row));
    EXPECT_TRUE(both.open(row));
    ASSERT_TRUE(both.reseal(row));
    EXPECT_TRUE(both.is_current(row));
    EXPECT_FALSE(vault(master('a')).open(row));
    EXPECT_EQ(vault(master('b')).open(row)->reveal(), kCanary);
    EXPECT_EQ(row.hint, "lear");
    row.sealed[20] = static_cast<char>(row.sealed[20] ^ 1);
    const auto damaged = row;
    EXPECT_FALSE(both.reseal(row));
    EXPECT_EQ(row, damaged);
}

TEST(KeyVault, TakesOnlyKeysOf256Bits)
{
    EXPECT_FALSE(KeyVault::make(core::Secret(std::string(31, 'a'))));
    EXPECT_FALSE(KeyVault::make(core::Secret()));
    EXPECT_FALSE(KeyVault::make(master('a'), {core::Secret("short")}));
    EXPECT_EQ(KeyVault::name_of(master('a')).size(), 16U);
    EXPECT_NE(KeyVault::name_of(master('a')), KeyVault::name_of(master('b')));
}

}  // namespace
}  // namespace llmproxy::accounts
