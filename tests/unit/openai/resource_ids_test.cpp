#include "llmproxy/openai/resource_ids.hpp"

#include <gtest/gtest.h>

namespace llmproxy::openai {
namespace {

using Ids = std::vector<std::string>;

Ids texts(const std::vector<std::string_view>& views)
{
    return {views.begin(), views.end()};
}

/// What a scanner finds in `reply` when it comes in pieces of `size` bytes.
Ids scanned(std::string_view reply, std::size_t size = 1 << 20, std::size_t wanted = 8)
{
    IdScanner scanner(wanted);
    Ids all;
    while (!reply.empty()) {
        scanner.feed(reply.substr(0, size));
        reply.remove_prefix(std::min(size, reply.size()));
        for (auto& id : scanner.take()) {
            all.push_back(std::move(id));
        }
    }
    return all;
}

TEST(ResourceIds, KnowsWhichPathsAreAboutResources)
{
    for (const auto* path :
         {"/v1/files", "/v1/files/file-1/content", "/v1/batches", "/v1/uploads/u1/parts",
          "/v1/vector_stores", "/v1/assistants", "/v1/threads/runs", "/v1/responses/resp_1",
          "/v1/conversations", "/v1/fine_tuning/jobs", "/v1/chat/completions/c1"}) {
        EXPECT_TRUE(is_resource_path(path)) << path;
    }
    for (const auto* path :
         {"/v1/responses", "/v1/chat/completions", "/v1/completions", "/v1/filesystem", "/files/1",
          "/v1/audio/speech", "/v1/", "/v1/models/gpt-4"}) {
        EXPECT_FALSE(is_resource_path(path)) << path;
    }
}

TEST(ResourceIds, AreThePartsOfAPathThatHaveDigits)
{
    EXPECT_EQ(texts(ids_in_path("/v1/files/file-abc1/content")), Ids{"file-abc1"});
    EXPECT_EQ(texts(ids_in_path("/v1/threads/thread_1/runs/run_2")), (Ids{"thread_1", "run_2"}));
    EXPECT_EQ(texts(ids_in_path("/v1/fine_tuning/jobs/ftjob-3/events")), Ids{"ftjob-3"});
    EXPECT_EQ(texts(ids_in_path("/v1/responses/resp_4/input_items")), Ids{"resp_4"});
    EXPECT_TRUE(ids_in_path("/v1/vector_stores").empty());
    EXPECT_TRUE(ids_in_path("/v1/files/" + std::string(129, '1')).empty());
    EXPECT_TRUE(ids_in_path("/v1/models/gpt-4").empty());
}

TEST(ResourceIds, AreToldByWhatMakesThemAndByWhatEndsWithFiles)
{
    EXPECT_TRUE(tells_ids("POST", "/v1/files"));
    EXPECT_TRUE(tells_ids("POST", "/v1/uploads/upload_1/complete"));
    EXPECT_TRUE(tells_ids("GET", "/v1/batches/batch_1"));
    EXPECT_TRUE(tells_ids("GET", "/v1/fine_tuning/jobs/ftjob-1"));
    EXPECT_FALSE(tells_ids("GET", "/v1/files/file-1/content")) << "a client's own bytes";
    EXPECT_FALSE(tells_ids("GET", "/v1/files"));
    EXPECT_FALSE(tells_ids("DELETE", "/v1/files/file-1"));
    EXPECT_FALSE(tells_ids("POST", "/v1/audio/speech"));
}

TEST(ResourceIds, AreKeptOfResponsesUnlessTheClientSaysNo)
{
    EXPECT_TRUE(is_stored(Route::responses, R"({"model":"m"})"));
    EXPECT_TRUE(is_stored(Route::responses, R"({"store" : true})"));
    EXPECT_FALSE(is_stored(Route::responses, R"({"store" : false})"));
    EXPECT_TRUE(is_stored(Route::responses, R"({"input":"\"store\":false"})")) << "in a text";
    EXPECT_FALSE(is_stored(Route::chat_completions, R"({"model":"m"})"));
    EXPECT_TRUE(is_stored(Route::chat_completions, R"({"store":true})"));
    EXPECT_FALSE(is_stored(Route::embeddings, R"({"store":true})"));
}

TEST(ResourceIds, AreNamedByBodies)
{
    EXPECT_EQ(texts(ids_in_body(Route::responses,
                                R"({"tools":[{"vector_store_ids": [ "vs_1","vs_2"]}],)"
                                R"("input":[{"file_id":"file-3"}],"previous_response_id":"r_4"})")),
              (Ids{"r_4", "file-3", "vs_1", "vs_2"}));
    EXPECT_EQ(texts(ids_in_body(Route::responses, R"({"conversation":{"id":"conv_1"}})")),
              Ids{"conv_1"});
    EXPECT_EQ(texts(ids_in_body(Route::responses, R"({"conversation":"conv_1"})")), Ids{"conv_1"});
    EXPECT_EQ(texts(ids_in_body(Route::other, R"({"input_file_id":"file-1","endpoint":"/v1/x"})")),
              Ids{"file-1"});
    EXPECT_EQ(texts(ids_in_body(Route::chat_completions,
                                R"({"messages":[{"file_id":null},{"file_id":"f1"}]})")),
              Ids{"f1"});
    EXPECT_EQ(texts(ids_in_body(Route::responses,
                                R"({"metadata":{"previous_response_id":"r_1"},)"
                                R"("previous_response_id":"r_2","vector_store_ids":[]})")),
              (Ids{"r_1", "r_2"}))
        << "wherever it stands";
    EXPECT_EQ(texts(ids_in_body(Route::responses, R"({"conversation":"conv_\u0031"})")),
              Ids{R"(conv_\u0031)"});
    EXPECT_TRUE(ids_in_body(Route::responses, R"({"previous_response_id":null})").empty());
    EXPECT_TRUE(ids_in_body(Route::responses, R"({"input":"\"file_id\":\"f1\""})").empty());
    EXPECT_TRUE(ids_in_body(Route::embeddings, R"({"file_id":"f1"})").empty());
}

TEST(ResourceIds, OfABodyThatIsCutOffAreReadAsFarAsItGoes)
{
    const std::string whole = R"({"vector_store_ids":["vs_1"],"conversation":{"id":"conv_2"}})";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        for (const auto id :
             ids_in_body(Route::responses, std::string_view(whole).substr(0, size))) {
            EXPECT_TRUE(id == "vs_1" || id == "conv_2") << id;
        }
    }
}

TEST(IdScanner, FindsWhatAReplyIsAboutInPiecesOfAnySize)
{
    const std::string reply =
        R"({ "object": "batch", "metadata": {"id": "m1", "file": "m2"}, "id" : "batch_1",)"
        R"("errors": {"data": [{"id": "e1"}]}, "output_file_id": "file-2", "error_file_id": null,)"
        R"("note": "\"id\":\"n1\"", "result_files": ["file-3", "file-4"], "file": {"id": "file-5"},)"
        R"("list": ["x1"], "thread_id": "thread_6"})";
    const Ids expected{"batch_1", "file-2", "file-3", "file-4", "file-5", "thread_6"};
    for (const std::size_t size : {1U, 2U, 3U, 7U, 64U, 10'000U}) {
        EXPECT_EQ(scanned(reply, size), expected) << size;
    }
}

TEST(IdScanner, FindsTheResponseOfAStreamOnce)
{
    const std::string stream = ": \"quoted\n\nevent: response.created\n"
                               "data: {\"type\":\"response.created\",\"response\":{\"output\":[],"
                               "\"id\":\"resp_1\"}}\n\n"
                               "data: {\"item\":{\"id\":\"msg_2\"}}\n\n"
                               "data: {\"response\":{\"id\":\"resp_1\"}}\n\ndata: [DONE]\n\n";
    for (const std::size_t size : {1U, 5U, 10'000U}) {
        EXPECT_EQ(scanned(stream, size), Ids{"resp_1"}) << size;
    }
}

TEST(IdScanner, TakesNoListForAThing)
{
    EXPECT_TRUE(scanned(R"({"data":[{"id":"file-1"}],"first_id":"file-1"})").empty());
    EXPECT_TRUE(scanned(R"([{"id":"file-1"},{"file":{"id":"f2"}}])").empty());
}

TEST(IdScanner, TakesOnlyWhatCanBeAnId)
{
    EXPECT_TRUE(scanned(R"({"id":"nodigits"})").empty());
    EXPECT_TRUE(scanned(R"({"id":"with space 1"})").empty());
    EXPECT_TRUE(scanned(R"({"id":"esc\u00611"})").empty());
    EXPECT_TRUE(scanned(R"({"id":17})").empty());
    EXPECT_TRUE(scanned("{\"id\":\"" + std::string(129, '1') + "\"}").empty());
    EXPECT_EQ(scanned("{\"id\":\"" + std::string(128, '1') + "\"}"), Ids{std::string(128, '1')});
}

TEST(IdScanner, StopsAtItsBounds)
{
    IdScanner scanner(1);
    scanner.feed(R"({"id":"a1","thread_id":"b2"})");
    EXPECT_EQ(scanner.take(), Ids{"a1"});
    EXPECT_TRUE(scanner.done());
    EXPECT_TRUE(scanner.take().empty());

    const std::string far = "{\"x\":\"" + std::string(IdScanner::kBudget, 'x') + "\",";
    EXPECT_TRUE(scanned(far + R"("id":"a1"})", 1000).empty());
    EXPECT_TRUE(scanned(std::string(1000, '[')).empty());
    EXPECT_TRUE(scanned("]]}}{\"id\":\"").empty());
}

}  // namespace
}  // namespace llmproxy::openai
