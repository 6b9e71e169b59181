#include "findings.hpp"

#include "field.hpp"
#include "scalar.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace llmproxy::config {
namespace {

const std::vector<std::string>& providers()
{
    const auto& table = field_table();
    return std::find_if(table.begin(), table.end(),
                        [](const Field& field) { return field.path == "backends[].provider"; })
        ->choices;
}

std::string list(const std::vector<std::string>& words)
{
    std::string text;
    for (const auto& word : words) {
        text += (text.empty() ? "" : ", ") + word;
    }
    return text;
}

}  // namespace

void check_prices(Snapshot& snapshot, Findings& findings)
{
    // What the file repeats is hidden by what the configuration itself says, so they are no duplicates.
    using Subject = std::tuple<bool, std::string, std::string, std::string>;
    const auto& prices = snapshot.accounts.prices;
    const auto& backends = snapshot.upstream.backends;
    const auto subject_of = [&](std::size_t index) {
        const auto& price = prices[index];
        const auto mark = snapshot.marks.find("prices[" + std::to_string(index) + "]");
        const bool from_file = mark != snapshot.marks.end() && !mark->second.file.empty();
        return Subject(from_file, price.model, price.provider, price.backend);
    };
    std::set<std::pair<Subject, std::uint64_t>> seen;
    std::set<Subject> with_beginning;
    for (std::size_t i = 0; i < prices.size(); ++i) {
        const auto& price = prices[i];
        if (!seen.emplace(subject_of(i), price.above_input_tokens).second) {
            findings.refuse(indexed("prices", i, "model"),
                            "each model once (per provider, backend and above_input_tokens); got " +
                                yaml_text(price.model) + " again");
        }
        if (price.above_input_tokens == 0) {
            with_beginning.insert(subject_of(i));
        }
        if (!price.provider.empty() && std::find(providers().begin(), providers().end(),
                                                 price.provider) == providers().end()) {
            findings.refuse(indexed("prices", i, "provider"),
                            "one of " + list(providers()) + "; got " + yaml_text(price.provider));
        }
        const bool known = std::any_of(backends.begin(), backends.end(), [&](const auto& backend) {
            return backend.name == price.backend;
        });
        if (!price.backend.empty() && !known) {
            findings.refuse(indexed("prices", i, "backend"),
                            "the name of a backend; got " + yaml_text(price.backend));
        }
    }
    for (std::size_t i = 0; i < prices.size(); ++i) {
        if (!with_beginning.contains(subject_of(i))) {
            findings.refuse(
                indexed("prices", i, "above_input_tokens"),
                "an entry for the same model without above_input_tokens beside this one");
        }
    }
}

}  // namespace llmproxy::config
