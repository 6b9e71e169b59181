#include "field.hpp"

namespace llmproxy::config {
namespace {

constexpr std::int64_t kDearest = 1'000'000 * core::NanoUsd::kPerUsd;

Field usd(std::string path, std::string description)
{
    return field(std::move(path), Type::usd, "", std::move(description)).between(0, kDearest);
}

void add_budget_fields(std::vector<Field>& table)
{
    table.push_back(
        field(
            "budget.default_max_tokens", Type::integer, "4096",
            "The limit of output tokens that a request under a budget is given when neither it nor "
            "the price entry of its model has one.")
            .between(1, 100'000'000)
            .bind([](Cursor & c) -> auto& { return c.root->accounts.budget.default_max_tokens; }));
    table.push_back(
        one_of("budget.enforce", {"hard", "strict"}, "hard",
               "`hard`: what a budget has no room for is refused; `strict`: besides, a stream that "
               "costs more than was reserved for it is cut off.")
            .bind([](Cursor & c) -> auto& { return c.root->accounts.budget.enforce; }));
    table.push_back(
        field("budget.soft_threshold", Type::integer, "80",
              "Percent of a budget; that spending reaches it is logged; 0: none.")
            .between(0, 100)
            .bind([](Cursor & c) -> auto& { return c.root->accounts.budget.soft_threshold; }));
    table.push_back(
        usd("budget.unbounded_cost",
            "What is reserved for a request whose cost has no bound (a model without price, remote "
            "images, hosted tools), and charged if its cost stays unknown; left out: such requests "
            "are refused under a money budget.")
            .bind([](Cursor & c) -> auto& { return c.root->accounts.budget.unbounded_cost; })
            .commented("0.50"));
}

Field prices_field()
{
    auto row = field("prices", Type::items, "[]",
                     "What models cost, in USD per million tokens. An entry for a backend "
                     "counts before one for its provider, that before one for all; among "
                     "those an exact name before patterns, the longest pattern before "
                     "others; of equals the first.");
    row.open = [](Cursor& cursor) { cursor.price = &cursor.root->accounts.prices.emplace_back(); };
    row.count = [](Cursor& cursor) { return cursor.root->accounts.prices.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.price = &cursor.root->accounts.prices.at(index);
    };
    return row;
}

void add_price_fields(std::vector<Field>& table)
{
    table.push_back(prices_field());
    table.push_back(field("prices[].model", Type::string, "",
                          "The model's name as backends know it, or a pattern; `*` is any run of "
                          "characters.")
                        .must()
                        .bind([](Cursor & c) -> auto& { return c.price->model; })
                        .show("gpt-4o-mini"));
    table.push_back(field("prices[].provider", Type::string, "",
                          "Only for backends of this provider; empty: for all.")
                        .bind([](Cursor & c) -> auto& { return c.price->provider; }));
    table.push_back(field("prices[].backend", Type::string, "",
                          "Only for the backend of this name; empty: for all.")
                        .bind([](Cursor & c) -> auto& { return c.price->backend; }));
    table.push_back(
        field("prices[].above_input_tokens", Type::integer, "0",
              "The entry is for requests with more input tokens than this, beside one without.")
            .between(0, 1'000'000'000)
            .bind([](Cursor & c) -> auto& { return c.price->above_input_tokens; }));
    table.push_back(usd("prices[].input", "Input tokens.")
                        .must()
                        .bind([](Cursor & c) -> auto& { return c.price->input; })
                        .show("0.15"));
    table.push_back(usd("prices[].output", "Output tokens.")
                        .must()
                        .bind([](Cursor & c) -> auto& { return c.price->output; })
                        .show("0.60"));
    table.push_back(usd("prices[].cached_input",
                        "Input tokens read from the provider's cache; left out: as `input`.")
                        .bind([](Cursor & c) -> auto& { return c.price->cached_input; })
                        .show("0.075"));
    table.push_back(usd("prices[].cache_write",
                        "Input tokens written to the provider's cache; left out: as `input`.")
                        .bind([](Cursor & c) -> auto& { return c.price->cache_write; })
                        .show("0.15"));
    table.push_back(usd("prices[].reasoning", "Reasoning tokens; left out: as `output`.")
                        .bind([](Cursor & c) -> auto& { return c.price->reasoning; })
                        .show("0.60"));
    table.push_back(usd("prices[].audio_input", "Input tokens of audio; left out: as `input`.")
                        .bind([](Cursor & c) -> auto& { return c.price->audio_input; })
                        .show("10"));
    table.push_back(usd("prices[].audio_output", "Output tokens of audio; left out: as `output`.")
                        .bind([](Cursor & c) -> auto& { return c.price->audio_output; })
                        .show("20"));
    table.push_back(field("prices[].max_output_tokens", Type::integer, "",
                          "The most that the model puts out for one choice; left out: not known.")
                        .between(1, 100'000'000)
                        .bind([](Cursor & c) -> auto& { return c.price->max_output_tokens; })
                        .show("16384"));

    auto file =
        field("prices_file", Type::items_file, "",
              "A file with further entries under the key `prices`; those of this file count "
              "before them.")
            .bind([](Cursor & c) -> auto& { return c.root->prices_file; });
    file.items_path = "prices";
    table.push_back(std::move(file).commented("config/prices.example.yaml"));
}

}  // namespace

void add_account_fields(std::vector<Field>& table)
{
    add_budget_fields(table);
    add_price_fields(table);
}

}  // namespace llmproxy::config
