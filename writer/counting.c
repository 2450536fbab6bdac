#include "counting.h"

#include "counters.h"
#include "io.h"
#include "meta.h"
#include "writer.h"

#define KINDS_SAID 8 /* of each list; all of them are in the summary */

/* Of the connections those that are worst: how full a window is, how long a reply was waited for; and the
 * node that is nearest to its memory limit. */
static void add_target(struct buf *b, const struct nodes *cl, uint64_t now)
{
    uint64_t used = 0, size = 0, waited = 0, flight = 0;
    const struct evictions *worst = NULL;
    for (unsigned i = 0; i < cl->nconn; i++) {
        const struct conn *c = cl->conn[i];
        const struct ring *r = &c->line.wire.ring;
        uint64_t wait = c->line.un > c->line.replied ? us_since(now, c->line.wire.answered) : 0;
        if (c->line.node->sentinel)
            continue;
        flight += c->line.un - c->line.replied;
        waited = wait > waited ? wait : waited;
        size = size == 0 || r->tail - r->acked > used ? r->size : size;
        used = r->tail - r->acked > used ? r->tail - r->acked : used;
    }
    for (unsigned i = 0; i < cl->n; i++) {
        const struct evictions *e = &cl->node[i]->evicted;
        if (e->limit > 0 && (worst == NULL || (double)e->memory / (double)e->limit >
                                                  (double)worst->memory / (double)worst->limit))
            worst = e;
    }
    counters_add(b, "in_flight", flight);
    counters_add(b, "window_bytes", used);
    counters_add(b, "window_size_bytes", size);
    counters_add(b, "batch_wait_us", waited);
    counters_add(b, "connections", cl->nconn);
    if (worst != NULL) {
        counters_add(b, "memory_bytes", worst->memory);
        counters_add(b, "memory_limit_bytes", worst->limit);
    }
}

static void add_numbers(struct buf *b, const struct stats *s)
{
    counters_add(b, "records", s->records);
    counters_add(b, "in_bytes", s->bytes_in);
    counters_add(b, "requests", s->requests);
    counters_add(b, "out_bytes", s->bytes_out);
    counters_add(b, "live", s->live);
    counters_add(b, "mset_groups", s->msets);
    counters_add(b, "exec_groups", s->groups);
    counters_add(b, "big_requests", s->big);
    counters_add(b, "barriers", s->barriers);
    counters_add(b, "programs", s->programs);
    counters_add(b, "retries", s->retries);
    counters_add(b, "reconnects", s->reconnects);
    counters_add(b, "redirects", s->redirects);
    counters_add(b, "swept", s->swept);
    counters_add(b, "errors", s->errors.total);
    counters_add(b, "not_carried_over", s->lost);
    counters_add(b, "doubtful", s->doubtful.total);
    counters_add(b, "evicted", s->evicted);
    counters_keys(b, s->keys);
}

/* what.N=COUNT KIND KEY: the first key tells where to look. */
static void add_kinds(struct buf *b, const char *what, const struct kinds *k)
{
    for (unsigned i = 0; i < k->n && i < KINDS_SAID; i++) {
        const struct kind *kind = &k->kind[i];
        if (b->len + sizeof *kind + 64 > COUNTERS_MAX)
            return;
        struct buf text = {.max = 1024};
        (void)buf_addf(&text, "%llu %s %s", (unsigned long long)kind->count,
                       kind->nkeys > 0 ? kind->key[0] : "-", kind->name);
        (void)buf_addf(b, " %s.%u=", what, i);
        meta_escape(b, text.p, text.len, 300);
        buf_free(&text);
    }
}

void counting_say(struct writer *w, uint64_t now, bool last)
{
    struct buf b = {.max = CTL_LINE_MAX};
    bool due = last || us_since(now, w->stats.said_at) >= COUNTERS_EVERY;
    if (!due || w->live.ctl.fd < 0 || !ctl_idle(&w->live.ctl))
        return;
    w->stats.said_at = now;
    counters_begin(&b, "rediswriter", -1);
    counters_add(&b, "epoch", w->session.epoch);
    add_numbers(&b, &w->stats);
    add_target(&b, &w->cluster->nodes, now);
    counters_waited(&b, &w->stats.waited);
    counters_process(&b);
    if (w->stats.latency.n > 0)
        counters_histogram(&b, "latency", &w->stats.latency);
    add_kinds(&b, "error", &w->stats.errors);
    add_kinds(&b, "report", &w->stats.reports);
    (void)ctl_send(&w->live.ctl, "%.*s", (int)b.len, (const char *)b.p);
    buf_free(&b);
}
