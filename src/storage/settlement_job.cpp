#include "settlement_job.hpp"

#include "values.hpp"

namespace llmproxy::storage {

core::Result<void> RecoveryJob::apply(WriteContext& context)
{
    {
        Query query(context.database, "SELECT 1 FROM usage WHERE request = ? LIMIT 1");
        bind_all(query, rows().front().request);
        if (query.next()) {
            return {};
        }
        if (query.failed()) {
            return query.failure();
        }
    }
    return SettlementJob::apply(context);
}

}  // namespace llmproxy::storage
