#include "support/test_client.hpp"

#include <algorithm>
#include <cstdlib>

namespace llmproxy::test {

bool TestClient::send_in_pieces(std::string_view bytes, std::size_t size)
{
    while (!bytes.empty()) {
        const auto count = std::min(size, bytes.size());
        if (!wire_.send(bytes.substr(0, count))) {
            return false;
        }
        bytes.remove_prefix(count);
    }
    return true;
}

ReadEnd TestClient::fill()
{
    if (last_ != ReadEnd::data && last_ != ReadEnd::timeout) {
        return last_;
    }
    const auto before = buffer_.size();
    last_ = wire_.read(buffer_);
    if (last_ == ReadEnd::data) {
        arrivals_.push_back({buffer_.substr(before), std::chrono::steady_clock::now()});
    }
    return last_;
}

bool TestClient::read_until(const std::function<bool(std::string_view)>& enough)
{
    while (!enough(buffer_)) {
        if (fill() != ReadEnd::data) {
            return false;
        }
    }
    return true;
}

ReadEnd TestClient::read_to_end()
{
    while (fill() == ReadEnd::data) {}
    return last_;
}

std::optional<std::string> TestClient::line()
{
    std::size_t end = 0;
    const auto whole = [&end](std::string_view text) {
        end = text.find("\r\n");
        return end != std::string_view::npos;
    };
    if (!read_until(whole)) {
        return std::nullopt;
    }
    auto text = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    return text;
}

std::optional<std::string> TestClient::raw_head()
{
    std::size_t end = 0;
    const auto whole = [&end](std::string_view text) {
        end = text.find("\r\n\r\n");
        return end != std::string_view::npos;
    };
    if (!read_until(whole)) {
        return std::nullopt;
    }
    auto text = buffer_.substr(0, end + 4);
    buffer_.erase(0, end + 4);
    return text;
}

BodyEnd TestClient::ended(ReadEnd how, const Response& response) const
{
    switch (how) {
    case ReadEnd::fin:
        return response.status != 0 && !response.chunked && !left_ ? BodyEnd::closed
                                                                   : BodyEnd::cut_fin;
    case ReadEnd::truncated_tls: return BodyEnd::cut_fin;
    case ReadEnd::timeout: return BodyEnd::timeout;
    default: return BodyEnd::cut_reset;
    }
}

std::optional<Head> TestClient::interim()
{
    const auto enough = [](std::string_view text) { return text.size() >= 10; };
    if (!read_until(enough) || buffer_[9] != '1') {
        return std::nullopt;
    }
    auto raw = raw_head();
    return raw ? std::optional(parse_head(std::move(*raw))) : std::nullopt;
}

Response TestClient::head(bool to_head)
{
    Response response;
    left_.reset();
    for (;;) {
        auto raw = raw_head();
        if (!raw) {
            response.end = ended(last_, response);
            return response;
        }
        auto head = parse_head(std::move(*raw));
        if (head.start_line.rfind("HTTP/1.", 0) != 0) {
            response.end = BodyEnd::malformed;
            return response;
        }
        const int status = std::atoi(head.word(1).c_str());
        if (status >= 200 || status == 101) {
            response.status = status;
            response.head = std::move(head);
            break;
        }
        response.interim.push_back(std::move(head));
    }
    if (to_head || response.status == 204 || response.status == 304 || response.status == 101) {
        response.end = BodyEnd::complete;
        return response;
    }
    response.chunked = same_text(response.head["transfer-encoding"], "chunked");
    if (const auto length = response.head.find("content-length"); length && !response.chunked) {
        left_ = std::strtoull(length->c_str(), nullptr, 10);
        if (*left_ == 0) {
            response.end = BodyEnd::complete;
        }
    }
    return response;
}

std::optional<std::string> TestClient::chunk(Response& response)
{
    const auto size_line = line();
    if (!size_line) {
        response.end = ended(last_, response);
        return std::nullopt;
    }
    char* after = nullptr;
    const auto size = std::strtoull(size_line->c_str(), &after, 16);
    if (after == size_line->c_str() || *after != '\0') {
        response.end = BodyEnd::malformed;
        return std::nullopt;
    }
    if (size == 0) {
        for (;;) {
            const auto text = line();
            if (!text || text->empty()) {
                response.end = text ? BodyEnd::complete : ended(last_, response);
                return std::nullopt;
            }
            response.trailers += *text + "\n";
        }
    }
    const auto whole = [size](std::string_view text) { return text.size() >= size + 2; };
    if (!read_until(whole)) {
        response.body += buffer_;
        response.end = ended(last_, response);
        return std::nullopt;
    }
    auto bytes = buffer_.substr(0, size);
    if (buffer_.compare(size, 2, "\r\n") != 0) {
        response.end = BodyEnd::malformed;
        return std::nullopt;
    }
    buffer_.erase(0, size + 2);
    response.chunks.push_back(bytes);
    response.body += bytes;
    return bytes;
}

std::optional<std::string> TestClient::piece(Response& response)
{
    if (response.end != BodyEnd::open) {
        return std::nullopt;
    }
    if (response.chunked) {
        return chunk(response);
    }
    if (buffer_.empty() && fill() != ReadEnd::data) {
        response.end = ended(last_, response);
        return std::nullopt;
    }
    const auto count = left_ ? std::min<std::uint64_t>(*left_, buffer_.size()) : buffer_.size();
    auto bytes = buffer_.substr(0, count);
    buffer_.erase(0, count);
    response.body += bytes;
    if (left_) {
        *left_ -= count;
        if (*left_ == 0) {
            response.end = BodyEnd::complete;
        }
    }
    return bytes;
}

void TestClient::finish(Response& response)
{
    while (piece(response)) {}
}

Response TestClient::response(bool to_head)
{
    auto result = head(to_head);
    finish(result);
    return result;
}

Response TestClient::ask(std::string_view request)
{
    send(request);
    return response(request.rfind("HEAD ", 0) == 0);
}

}  // namespace llmproxy::test
