#include "session.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace llmproxy::cli::manage {
namespace {

constexpr int kUsage = 2;
constexpr const char* kTokenVariable = "LLM_PROXY_MANAGEMENT_TOKEN";
constexpr const char* kUrlVariable = "LLM_PROXY_MANAGEMENT_URL";
constexpr const char* kUsualUrl = "http://127.0.0.1:8889";

/// What the command line said, else the environment, else `usual`. CLI11's own way would let the environment win, since
/// it asks it for groups of commands that were not called too, which share the value.
std::string given(const std::string& option, const char* variable, const char* usual)
{
    if (!option.empty()) {
        return option;
    }
    const char* const value = std::getenv(variable);
    return value != nullptr && *value != '\0' ? value : usual;
}

std::string read_token(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    if (!file) {
        throw Stop{1, "cannot read " + path};
    }
    auto token = text.str();
    token.erase(token.find_last_not_of("\r\n") + 1);
    return token;
}

/// What the API says of an error, or the body itself.
std::string reason_of(const Answer& answer)
{
    const auto body = Json::parse(answer.body, nullptr, false);
    if (!body.is_object() || !body.contains("error") || !body["error"].is_object()) {
        return "status " + std::to_string(answer.status) + ": " +
               printable(answer.body.substr(0, 200));
    }
    const auto& error = body["error"];
    auto reason = error.value("message", std::string("no message"));
    std::string shown;
    for (std::size_t at = 0; at < reason.size();) {  // lines of a refused configuration stay lines
        const auto end = std::min(reason.find('\n', at), reason.size());
        shown += (at == 0 ? "" : "\n") + printable(reason.substr(at, end - at));
        at = end + 1;
    }
    return shown + " (" + printable(error.value("code", "")) + ")";
}

}  // namespace

void Session::add_options(CLI::App& group)
{
    group.add_option("--url", url_,
                     std::string("Where the management API is; else ") + kUrlVariable + ", else " +
                         kUsualUrl);
    group.add_option("--management-token", token_,
                     std::string("The management token; other users of the machine can see it "
                                 "here, so rather ") +
                         kTokenVariable);
    group.add_option("--token-file", token_file_, "A file that holds the token");
    group.add_option("--ca", ca_, "Certificates to trust, in place of the system's (PEM)");
    group.add_flag("--json", json_, "Answer as the API does");
    group.fallthrough();
    group.require_subcommand(0, 1);
}

Access Session::access() const
{
    Access access;
    const auto where = given(url_, kUrlVariable, kUsualUrl);
    const auto url = parse_url(where);
    if (!url) {
        throw Stop{kUsage, "--url: expected http(s)://host[:port], got " + where};
    }
    access.url = *url;
    access.ca = ca_;
    access.token = core::Secret(token_file_.empty() ? given(token_, kTokenVariable, "")
                                                    : read_token(token_file_));
    const auto& text = access.token.reveal();
    if (text.empty()) {
        throw Stop{kUsage, "a management token is needed: " + std::string(kTokenVariable) +
                               " or --token-file"};
    }
    if (!std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; })) {
        throw Stop{kUsage, "the management token must be visible ASCII characters"};
    }
    return access;
}

int Session::run(std::ostream& out, std::ostream& err)
{
    out_ = &out;
    try {
        chosen();
        out.flush();
        return 0;
    } catch (const Stop& stop) {
        out.flush();
        err << "llm-proxy: " << stop.reason << "\n";
        return stop.code;
    }
}

Answer Session::ask(const Question& question, const Sink& sink)
{
    auto answer = manage::ask(access(), question, sink);
    if (!answer) {
        const auto& failure = answer.error();
        std::string reason = "cannot ask " + url_ + ": " + failure.detail();
        if (failure.cause()) {
            reason += " (" + failure.cause().message() + ")";
        }
        if (failure.errc() == core::Errc::upstream_connect_failed) {
            reason += "\nIs the daemon running, with a listener that serves admin?";
        }
        throw Stop{1, reason};
    }
    if (answer->status >= 300) {
        throw Stop{1, reason_of(*answer)};
    }
    return std::move(*answer);
}

Json Session::get(const std::string& target)
{
    return get_tagged(target).first;
}

std::pair<Json, std::string> Session::get_tagged(const std::string& target)
{
    Question question;
    question.target = target;
    const auto answer = ask(question);
    auto body = Json::parse(answer.body, nullptr, false);
    if (!body.is_object()) {
        throw Stop{1, "the answer is not what the management API sends: is " + url_ + " it?"};
    }
    return {std::move(body), answer.etag};
}

Json Session::send(std::string_view method, const std::string& target, const Json& body,
                   const std::string& if_match)
{
    Question question;
    question.method = method;
    question.target = target;
    question.body =
        body.is_null() ? std::string() : body.dump(-1, ' ', false, Json::error_handler_t::replace);
    question.if_match = if_match;
    const auto answer = ask(question);
    return answer.body.empty() ? Json(nullptr) : Json::parse(answer.body, nullptr, false);
}

Json Session::list(std::string target, std::size_t most)
{
    constexpr std::size_t kPage = 1000;
    auto entries = Json::array();
    target += target.find('?') == std::string::npos ? "?" : "&";
    std::string after;
    do {
        const auto limit = std::min(kPage, most - entries.size());
        auto page = get(target + "limit=" + std::to_string(limit) +
                        (after.empty() ? "" : "&after=" + percent_encoded(after)));
        for (auto& one : page["data"]) {
            entries.push_back(std::move(one));
        }
        after = page["next"].is_string() ? page["next"].get<std::string>() : std::string();
    } while (!after.empty() && entries.size() < most);
    return entries;
}

void Session::print(const Json& value)
{
    out() << value.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

std::string query_of(const std::vector<std::pair<std::string_view, std::string>>& parameters)
{
    std::string query;
    for (const auto& [name, value] : parameters) {
        if (!value.empty()) {
            query += (query.empty() ? "?" : "&") + std::string(name) + "=" + percent_encoded(value);
        }
    }
    return query;
}

std::string cell(const Json& value)
{
    if (value.is_null()) {
        return "-";
    }
    if (value.is_string()) {
        const auto text = printable(value.get<std::string>());
        return text.empty() ? "-" : text;
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "yes" : "no";
    }
    if (value.is_array()) {
        std::string list;
        for (const auto& one : value) {
            list += (list.empty() ? "" : ", ") + cell(one);
        }
        return list.empty() ? "-" : list;
    }
    return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void print_table(std::ostream& out, const Json& entries,
                 const std::vector<std::pair<std::string, std::string>>& columns)
{
    std::vector<std::string> heads;
    for (const auto& [name, head] : columns) {
        heads.push_back(head);
    }
    Table table(std::move(heads));
    for (const auto& entry : entries) {
        std::vector<std::string> cells;
        for (const auto& [name, head] : columns) {
            const Json::json_pointer at("/" + name);
            cells.push_back(entry.contains(at) ? cell(entry[at]) : "-");
        }
        table.add(std::move(cells));
    }
    table.print(out);
}

void print_fields(std::ostream& out, const Json& object)
{
    std::size_t width = 0;
    for (const auto& [name, value] : object.items()) {
        width = std::max(width, name.size());
    }
    for (const auto& [name, value] : object.items()) {
        out << name << std::string(width - name.size() + 2, ' ') << cell(value) << "\n";
    }
}

}  // namespace llmproxy::cli::manage
