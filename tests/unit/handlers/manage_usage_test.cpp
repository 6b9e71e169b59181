#include "handlers/manage/usage.hpp"

#include <gtest/gtest.h>

namespace llmproxy::handlers::manage {
namespace {

TEST(ManageCsv, QuotesWhatNeedsIt)
{
    EXPECT_EQ(csv_line({Json("a"), Json(1), Json(true), Json(nullptr), Json(0.5)}),
              "a,1,true,,0.5\r\n");
    EXPECT_EQ(csv_line({Json("a,b"), Json("a\"b"), Json("a\r\nb")}),
              "\"a,b\",\"a\"\"b\",\"a\r\nb\"\r\n");
}

TEST(ManageCsv, IsNoFormulaInASpreadsheet)
{
    EXPECT_EQ(csv_line({Json("=1+1"), Json("+1"), Json("-1"), Json("@x"), Json("\tx")}),
              "'=1+1,'+1,'-1,'@x,'\tx\r\n");
    EXPECT_EQ(csv_line({Json("=HYPERLINK(\"http://x\",\"y\")")}),
              "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"\r\n");
    EXPECT_EQ(csv_line({Json(-1), Json("a=b")}), "-1,a=b\r\n");
}

TEST(ManageUsage, ARowHasTheFieldsOfItsShapeInTheirOrder)
{
    storage::UsageRow row;
    row.request = core::make_uuid7(core::SystemTime(std::chrono::seconds(1'769'862'896)));
    row.cost = core::NanoUsd{1'500'000'000};
    row.tokens.prompt = 3;
    const auto shown = show_usage(row);
    std::vector<std::string> names;
    for (const auto& [name, value] : shown.items()) {
        names.push_back(name);
    }
    std::vector<std::string> documented;
    for (const auto& property : usage_shape().properties) {
        documented.emplace_back(property.name);
    }
    EXPECT_EQ(names, documented);
    EXPECT_EQ(shown["time"], "2026-01-31T12:34:56.000Z");
    EXPECT_EQ(shown["request_id"], shown["request"]);
    EXPECT_EQ(shown["cost_usd"], "1.5");
    EXPECT_EQ(shown["prompt_tokens"], 3);
    EXPECT_TRUE(shown["project"].is_null());
    EXPECT_TRUE(shown["first_byte_ms"].is_null());
}

}  // namespace
}  // namespace llmproxy::handlers::manage
