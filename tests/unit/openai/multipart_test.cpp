#include "llmproxy/openai/multipart.hpp"

#include <gtest/gtest.h>

#include <string>

namespace llmproxy::openai {
namespace {

using State = MultipartModel::State;

const std::string kType = "multipart/form-data; boundary=\"B o\"";
const std::string kBody =
    "--B o\r\nContent-Disposition: form-data; name=\"file\"; "
    "filename=\"name=\\\"model\\\".wav\"\r\n"
    "Content-Type: audio/wav\r\n\r\nRIFF\r\n--B\r\n\r\n--B o\r\n"
    "content-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B o--\r\n";

TEST(Multipart, FindsTheModelOnceItIsComplete)
{
    const auto complete = kBody.find("whisper-1") + 9 + std::string("\r\n--B o").size();
    for (std::size_t i = 0; i <= kBody.size(); ++i) {
        const auto found = multipart_model(kType, kBody.substr(0, i));
        ASSERT_EQ(found.state, i < complete ? State::need_more : State::found) << i;
        EXPECT_EQ(found.value, i < complete ? "" : "whisper-1");
        EXPECT_EQ(found.offset, i < complete ? 0 : kBody.find("whisper-1"));
    }
    EXPECT_EQ(
        multipart_model("Multipart/Form-Data;charset=x; Boundary=abc",
                        "--abc\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--abc")
            .value,
        "m");
}

TEST(Multipart, SaysAbsentWhenItIsNotThere)
{
    EXPECT_EQ(multipart_model("application/json", kBody).state, State::absent);
    EXPECT_EQ(multipart_model("multipart/form-data", kBody).state, State::absent);
    EXPECT_EQ(multipart_model("multipart/form-data; boundary=", kBody).state, State::absent);
    EXPECT_EQ(multipart_model("multipart/form-data; boundary=" + std::string(71, 'x'), kBody).state,
              State::absent);
    EXPECT_EQ(multipart_model(kType, "--B o--\r\n").state, State::absent);
    EXPECT_EQ(
        multipart_model(kType, "--B o\r\nX: y\r\n\r\n" + std::string(kMaxMultipartPrefix, 'x'))
            .state,
        State::absent);
    EXPECT_EQ(multipart_model(kType, "--B o\r\n\r\nv\r\n--B o\r\n\r\n\r\n--B o--").state,
              State::absent);
    const std::string file = "--B o\r\nContent-Disposition: form-data; name=\"model\"; "
                             "filename=\"x\"\r\n\r\nm\r\n--B o--";
    EXPECT_EQ(multipart_model(kType, file).state, State::absent);
    const std::string large = "--B o\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" +
                              std::string(257, 'm') + "\r\n--B o--";
    EXPECT_EQ(multipart_model(kType, large).state, State::absent);
}

}  // namespace
}  // namespace llmproxy::openai
