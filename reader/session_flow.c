#include "session_flow.h"

#include <stdlib.h>

#include "ctl.h"
#include "io.h"
#include "stream.h"

void session_flows_reset(struct session_flows *t, unsigned n)
{
    free(t->flow);
    *t = (struct session_flows){.flow = n > 0 ? xcalloc(n, sizeof *t->flow) : NULL, .n = n};
}

void session_flows_refresh(struct session_flows *t, const struct stream *st)
{
    bool behind = st->n > 0 && output_behind(&st->out);
    for (unsigned i = 0; i < t->n && i < st->n; i++) {
        const struct flow *from = &st->flows[i];
        struct session_flow *f = &t->flow[i];
        f->bytes = from->bytes;
        f->moved_at = from->moved_at;
        f->acked = from->acked;
        f->blocked = behind;
        f->away = from->away;
        f->reconnects = from->reconnects;
    }
}

void session_flows_all_synced(struct session_flows *t)
{
    for (unsigned i = 0; i < t->n; i++)
        t->flow[i].cut = t->flow[i].synced = true;
    t->cut = t->synced = t->n;
}

void session_flows_forget(struct session_flows *t, const struct peer *p)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->flow[i].process == p)
            t->flow[i].process = NULL;
}

struct session_flow *session_flows_find(struct session_flows *t, unsigned epoch, const char *line,
                                        unsigned *index)
{
    uint64_t flow, said;
    if (!ctl_getu(line, "flow", &flow) || flow >= t->n || !ctl_getu(line, "epoch", &said) || said != epoch)
        return NULL;
    *index = (unsigned)flow;
    return &t->flow[flow];
}

uint64_t session_flows_bytes(const struct session_flows *t, uint64_t *queued)
{
    uint64_t sum = 0;
    *queued = 0;
    for (unsigned i = 0; i < t->n; i++) {
        sum += t->flow[i].bytes;
        *queued += t->flow[i].queued;
    }
    return sum;
}

unsigned session_flows_reconnects(const struct session_flows *t)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < t->n; i++)
        sum += t->flow[i].reconnects;
    return sum;
}

bool session_flows_away(const struct session_flows *t)
{
    bool away = false;
    for (unsigned i = 0; i < t->n; i++)
        away = away || t->flow[i].away;
    return away;
}

bool session_flows_full(const struct session_flows *t)
{
    bool full = false;
    for (unsigned i = 0; i < t->n && !full; i++)
        full = t->flow[i].process != NULL && t->flow[i].full;
    return full;
}
