#include "usage.hpp"

#include "llmproxy/http/head.hpp"

namespace llmproxy::handlers::manage {
namespace {

constexpr std::uint32_t kRowsPerPiece = 500;

std::string cell(const Json& value)
{
    if (value.is_null()) {
        return {};
    }
    if (!value.is_string()) {
        return value.dump();
    }
    auto text = value.get<std::string>();
    if (!text.empty() &&
        std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos) {
        text.insert(text.begin(), '\'');
    }
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
        return text;
    }
    std::string quoted = "\"";
    for (const char c : text) {
        quoted += c == '"' ? "\"\"" : std::string(1, c);
    }
    return quoted + "\"";
}

std::string header_line()
{
    std::vector<Json> names;
    for (const auto& property : usage_shape().properties) {
        names.emplace_back(property.name);
    }
    return csv_line(names);
}

std::string line_of(const storage::UsageRow& row, bool csv)
{
    auto shown = show_usage(row);
    if (!csv) {
        return to_text(shown) + "\n";
    }
    std::vector<Json> cells;
    for (auto& one : shown) {
        cells.push_back(std::move(one));
    }
    return csv_line(cells);
}

/// Reads page after page; the first before the answer begins, so that it can still be an error.
class UsageSource final : public BodySource {
public:
    UsageSource(std::shared_ptr<storage::Store> store, storage::UsageFilter filter, bool csv)
        : store_(std::move(store)), filter_(std::move(filter)), csv_(csv)
    {
    }

    core::Task<core::Result<void>> begin()
    {
        auto piece = co_await read();
        if (!piece) {
            co_return piece.error();
        }
        ready_ = (csv_ ? header_line() : std::string()) + *piece;
        co_return core::Result<void>();
    }

    core::Task<core::Result<std::string>> next(net::Watchdog& /*watchdog*/) override
    {
        if (!ready_.empty()) {
            co_return std::exchange(ready_, {});
        }
        while (!page_.cursor.empty()) {
            auto piece = co_await read();
            if (!piece || !piece->empty()) {
                co_return piece;
            }
        }
        co_return std::string();
    }

private:
    core::Task<core::Result<std::string>> read()
    {
        auto page = co_await store_->usage(filter_, page_);
        if (!page) {
            co_return page.error();
        }
        std::string text;
        for (const auto& row : page->rows) {
            text += line_of(row, csv_);
        }
        page_.cursor = std::move(page->next);
        co_return text;
    }

    std::shared_ptr<storage::Store> store_;
    storage::UsageFilter filter_;
    storage::PageRequest page_{kRowsPerPiece};
    std::string ready_;
    bool csv_;
};

}  // namespace

std::string csv_line(const std::vector<Json>& cells)
{
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        line += (i == 0 ? "" : ",") + cell(cells[i]);
    }
    return line + "\r\n";
}

core::Task<core::Result<Reply>> export_usage(ManageParts& parts, Call& call)
{
    const bool csv = call.parameter<std::string>("format").value_or("csv") == "csv";
    auto source = std::make_unique<UsageSource>(parts.store, filter_of(call), csv);
    auto begun = co_await source->begin();
    if (!begun) {
        co_return begun.error();
    }
    Reply reply;
    reply.stream = std::move(source);
    http::append_field(reply.fields, "Content-Type",
                       csv ? "text/csv; charset=utf-8" : "application/x-ndjson");
    http::append_field(reply.fields, "Content-Disposition",
                       csv ? "attachment; filename=\"usage.csv\""
                           : "attachment; filename=\"usage.ndjson\"");
    co_return reply;
}

}  // namespace llmproxy::handlers::manage
