#include "field.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kDay = 24LL * 3600 * 1'000'000'000;

}  // namespace

void add_store_fields(std::vector<Field>& table)
{
    table.push_back(field("store.path", Type::path, "",
                          "The database of projects, tokens, budgets and usage, in a folder that "
                          "exists; empty: no accounts but `auth.static_tokens`.")
                        .bind([](Cursor & c) -> auto& { return c.root->store.path; })
                        .restart()
                        .commented("llm-proxy.db"));
    table.push_back(one_of("store.durability", {"process", "power"}, "process",
                           "What a commit survives: the end of the process, or of the machine too "
                           "(each is synced).")
                        .bind([](Cursor & c) -> auto& { return c.root->store.durability; })
                        .restart()
                        .commented("process"));
    table.push_back(
        field("store.encryption_key", Type::secret, "",
              "Seals the provider keys of projects: 32 random bytes as 64 hexadecimal digits or in "
              "base64, e.g. of `openssl rand -hex 32`.")
            .bind([](Cursor & c) -> auto& { return c.root->store.encryption_key; })
            .restart()
            .commented("${LLM_PROXY_ENCRYPTION_KEY}"));
    auto file = field("store.encryption_key_file", Type::secret_file, "",
                      "A file that holds the key, in place of `encryption_key`.")
                    .restart();
    file.set = table.back().set;
    table.push_back(std::move(file).commented("/run/secrets/encryption_key"));
    auto old = field("store.old_encryption_keys", Type::secret_list, "[]",
                     "Keys that were `encryption_key` before: they only open, until `llm-proxy "
                     "store reencrypt` has sealed all provider keys anew.")
                   .restart();
    old.set = [](Cursor& cursor, const Value& value) {
        for (const auto& text : std::get<std::vector<std::string>>(value)) {
            cursor.root->store.old_encryption_keys.emplace_back(text);
        }
    };
    old.get = [](Cursor& cursor) -> Value {
        std::vector<std::string> texts;
        for (const auto& key : cursor.root->store.old_encryption_keys) {
            texts.push_back(key.reveal());
        }
        return texts;
    };
    table.push_back(std::move(old).commented("[\"${OLD_ENCRYPTION_KEY}\"]"));
    table.push_back(field("store.retention", Type::duration, "2160h",
                          "How long single usage rows are kept (90 days); 0s: for ever.")
                        .between(0, 36'500 * kDay)
                        .bind([](Cursor & c) -> auto& { return c.root->store.retention; })
                        .restart()
                        .commented("2160h"));
    table.push_back(
        field("store.rollup_retention", Type::duration, "9600h",
              "How long hourly sums of usage are kept (400 days), daily ones stay; 0s: for ever.")
            .between(0, 36'500 * kDay)
            .bind([](Cursor & c) -> auto& { return c.root->store.rollup_retention; })
            .restart()
            .commented("9600h"));
}

}  // namespace llmproxy::config
