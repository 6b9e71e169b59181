#pragma once

#include "llmproxy/edge/handler.hpp"
#include "llmproxy/edge/server.hpp"
#include "llmproxy/handlers/manage.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <memory>
#include <string>

namespace llmproxy::app {

/// The management API, wired: what blocks runs aside.
/// Lifetime: ends before what its parts refer to, after the last request.
class Management {
public:
    /// \param parts   all but `reload`.
    /// \param reload  may block.
    /// \param aside   where it may.
    Management(handlers::ManageParts parts, std::function<handlers::ReloadReport()> reload,
               boost::asio::any_io_executor aside, const handlers::ManagementSettings& settings);

    void add_to(edge::Routes& routes);
    /// Thread safety: may be called from any thread.
    void replace(const handlers::ManagementSettings& settings) { handler_.replace(settings); }
    /// While there is no project, tells in the log how to make one.
    /// \param url  of the management API; empty: no listener serves it.
    core::Task<void> greet(std::string url);

private:
    handlers::ManageParts complete(handlers::ManageParts parts);
    core::Task<handlers::ReloadReport> reload_aside();
    core::Task<handlers::ReloadReport> reload_here();

    std::shared_ptr<storage::Store> store_;
    std::function<handlers::ReloadReport()> reload_;
    boost::asio::any_io_executor aside_;
    handlers::Manage handler_;
};

/// Where the first listener that serves admin is, for programs on this machine; empty if none does.
[[nodiscard]] std::string management_url(const edge::Server& server,
                                         const edge::Settings& settings);

}  // namespace llmproxy::app
