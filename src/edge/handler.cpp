#include "llmproxy/edge/handler.hpp"

namespace llmproxy::edge {

void Routes::add(Role role, std::string path, Handler& handler)
{
    entries_.push_back(Entry{role, std::move(path), &handler});
}

Handler* Routes::find(const ListenerSettings& listener, std::string_view target) const noexcept
{
    const auto path = target.substr(0, target.find('?'));
    for (const auto& entry : entries_) {
        const bool below = entry.path.ends_with('/');
        if (listener.serves(entry.role) &&
            (below ? path.starts_with(entry.path) : path == entry.path)) {
            return entry.handler;
        }
    }
    return nullptr;
}

}  // namespace llmproxy::edge
