#include "llmproxy/edge/handler.hpp"

namespace llmproxy::edge {

using http::TargetForm;

void Routes::add(Role role, std::string path, Handler& handler)
{
    entries_.push_back(Entry{role, std::move(path), TargetForm::origin, &handler});
}

void Routes::add(Role role, http::TargetForm form, Handler& handler)
{
    entries_.push_back(Entry{role, {}, form, &handler});
}

Handler* Routes::find(const ListenerSettings& listener,
                      const http::RequestHead& head) const noexcept
{
    const auto form = http::form_of(head.verb, head.target);
    const auto path = head.target.substr(0, head.target.find('?'));
    for (const auto& entry : entries_) {
        if (entry.form != form || !listener.serves(entry.role)) {
            continue;
        }
        const bool below = entry.path.ends_with('/');
        if (form != TargetForm::origin ||
            (below ? path.starts_with(entry.path) : path == entry.path)) {
            return entry.handler;
        }
    }
    return nullptr;
}

}  // namespace llmproxy::edge
