#include "cli/manage/session.hpp"
#include "cli/manage/table.hpp"

#include <gtest/gtest.h>

#include <sstream>

namespace llmproxy::cli::manage {
namespace {

TEST(CliTable, ColumnsAreAsWideAsTheirWidestCell)
{
    Table table({"NAME", "USD"});
    table.add({"a", "1.5"});
    table.add({"\xc3\xa4\xc3\xb6\xc3\xbc long", "12.25"});
    std::ostringstream out;
    table.print(out);
    EXPECT_EQ(out.str(), "NAME      USD\n"
                         "a           1.5\n"
                         "\xc3\xa4\xc3\xb6\xc3\xbc long  12.25\n");
}

TEST(CliTable, ATerminalObeysNothing)
{
    EXPECT_EQ(printable("a\x1b[31mb\r\n\x7f"), "a?[31mb???");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m \xc2\xa0 \xc3\xa4"),
              "?31m \xc2\xa0 \xc3\xa4");
}

TEST(CliCell, ShowsValuesAsPeopleReadThem)
{
    EXPECT_EQ(cell(Json(nullptr)), "-");
    EXPECT_EQ(cell(Json("")), "-");
    EXPECT_EQ(cell(Json("a\x1b")), "a?");
    EXPECT_EQ(cell(Json(true)), "yes");
    EXPECT_EQ(cell(Json(12)), "12");
    EXPECT_EQ(cell(Json::array({"a", "b"})), "a, b");
    EXPECT_EQ(cell(Json::array()), "-");
    EXPECT_EQ(cell(Json{{"a", 1}}), "{\"a\":1}");
}

TEST(CliQuery, LeavesOutWhatIsEmptyAndEncodesTheRest)
{
    EXPECT_EQ(query_of({{"a", ""}, {"b", "x y+z&%"}, {"c", "\xc3\xa4"}}),
              "?b=x%20y%2Bz%26%25&c=%C3%A4");
    EXPECT_EQ(query_of({{"a", ""}}), "");
}

}  // namespace
}  // namespace llmproxy::cli::manage
