#include "counting.h"

#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "counters.h"
#include "io.h"
#include "stream.h"

static uint64_t bytes_read(const struct stream *st)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < st->n; i++)
        sum += st->flows[i].bytes;
    return sum;
}

void counting_line(const struct stream *st, int flow, struct buf *b)
{
    const struct output *out = &st->out;
    counters_begin(b, "dfreader", flow);
    counters_add(b, "epoch", st->info.epoch);
    counters_add(b, "resyncs", st->restarts);
    if (out->fd >= 0) {
        counters_add(b, "in_bytes", bytes_read(st));
        counters_add(b, "records", out->records);
        counters_add(b, "out_bytes", out->written);
        counters_add(b, "queue_bytes", spool_len(&out->q));
        counters_add(b, "spool_bytes", out->q.disk);
        counters_waited(b, &st->waited);
        counters_channel(b, "pipe", out->fd);
    }
    counters_process(b);
}

void counting_take(struct peer *p, const char *line)
{
    free(p->counters);
    p->counters = xstrdup(line + strlen("counters"));
    p->counted_at = mono_us();
}

uint64_t counting_keys(const struct control *c)
{
    const struct peer *p;
    uint64_t n, sum = 0;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        if (p->role == ROLE_WRITER && p->counters != NULL && ctl_getu(p->counters, "keys", &n))
            sum += n;
    }
    return sum;
}

bool counting_pass(const struct control *c, struct peer *to, uint64_t *after)
{
    const struct peer *p;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        if (p->number <= *after || p->counters == NULL || p->gone)
            continue;
        *after = p->number;
        control_send(to, "counters age_us=%llu%s", (unsigned long long)us_since(mono_us(), p->counted_at),
                     p->counters);
        return true;
    }
    return false;
}
