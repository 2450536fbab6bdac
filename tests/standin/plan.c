/*
 * Which journal entries a generated flow has.  Entries are numbered from 0 in a flow:
 *
 *   [0, early)      in the snapshot, before the cut
 *   [early, F)      between cut and STARTSTABLE     (F = --fullsync-journal)
 *   [F, entries)    stable sync, one of them the FLUSHALL of --flush-at
 *
 * The LSN of entry e is the flow's LSN at the beginning of its full sync plus e.
 */
#include "standin.h"

#define LATE 2u

uint64_t plan_early(void)
{
    return opt.fullsync_journal > LATE ? opt.fullsync_journal - LATE : 0;
}

/* An early entry comes once so many keys have passed, so that it touches only those. */
uint64_t plan_place(unsigned flow, uint64_t e)
{
    return (e + 1) * dataset_flow_keys(flow) / (plan_early() + 1);
}

uint64_t plan_live_ops(unsigned flow)
{
    return opt.journal_ops / opt.flows + (flow < opt.journal_ops % opt.flows ? 1 : 0);
}

uint64_t plan_flush_entry(unsigned flow)
{
    if (!opt.has_flush_at)
        return UINT64_MAX;
    uint64_t ops = plan_live_ops(flow);
    return opt.fullsync_journal + (opt.flush_at < ops ? opt.flush_at : ops);
}

uint64_t plan_entries(unsigned flow)
{
    return opt.fullsync_journal + plan_live_ops(flow) + (opt.has_flush_at ? 1 : 0);
}

struct live_op plan_op(unsigned flow, uint64_t e)
{
    uint64_t limit = e < plan_early() ? plan_place(flow, e) : dataset_flow_keys(flow);
    return (struct live_op){.flow = flow, .index = e, .key_limit = limit};
}
