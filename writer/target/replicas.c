/* --wait: what a master has carried out counts when WAIT says that so many replicas have it. One WAIT of a
 * connection is on its way at a time, for everything that was answered before it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "../engine/errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "../signals.h"
#include "../options.h"
#include "../outcome.h"

#define WAIT_MS    1000
#define STOP_LIMIT ((uint64_t)10000000) /* us to wait for replicas once the task was stopped */
#define WAIT_UNITS 1024u                /* confirmed by the master before replicas are asked */

/* One of our own requests that waits for replicas. */
struct safe {
    STAILQ_ENTRY(safe) link;
    safe_fn *fn;
    void *arg;
};

static void tell_all(struct line *l, bool ok)
{
    for (struct safe *s; (s = STAILQ_FIRST(&l->safe)) != NULL;) {
        STAILQ_REMOVE_HEAD(&l->safe, link);
        s->fn(l, s->arg, ok);
        free(s);
    }
}

/* A WAIT that has to be repeated leaves no trace where nothing is behind it: while replicas are missing what
 * they do not have stays, and only so many fit beside it. */
static void take_back(struct line *l)
{
    if (l->un > l->replied)
        return;
    uint32_t len = l->unit[(l->uhead + l->un - 1) & (l->cap - 1)].len;
    l->un--;
    l->replied--;
    l->replied_bytes -= len;
    l->wire.ring.sent -= len;
    l->wire.ring.tail -= len;
}

static void refused(struct nodes *ns, struct line *l, const redisReply *r)
{
    static const char unknown[] = "ERR unknown command";
    if (error_class(r->str, r->len) == ERR_FATAL || strncmp(r->str, unknown, sizeof unknown - 1) == 0) {
        outcome_give_up(ns->outcome, EXIT_CANNOT, "event=target_refuses node=%s command=WAIT reply=%s",
                        cnode_name(l->node), log_quote(r->str, r->len));
    }
    line_lose(l, "WAIT: %s", r->str); /* no master any more: all of it goes to the new one */
}

/* A replica that does not confirm counts as lost like a server that does not answer. Whoever has stopped the
 * task does not wait so long for it. */
static void give_up(struct nodes *ns, struct line *l, long long confirm)
{
    uint64_t limit = (uint64_t)ns->opt->reconnect_timeout * 1000000;
    uint64_t waits = us_since(mono_us(), l->patience.since);
    if ((ns->outcome->stopped || signals_seen() > 0) && limit > STOP_LIMIT)
        limit = STOP_LIMIT;
    if (ns->outcome->failed || waits < limit)
        return;
    outcome_give_up(ns->outcome, EXIT_RETRY,
                    "event=replicas_missing node=%s confirm=%lld wait=%d seconds=%llu note=%s",
                    cnode_name(l->node), confirm, ns->opt->wait, (unsigned long long)(waits / 1000000),
                    "\"what --wait asks for is not there\"");
}

static void wait_reply(struct line *l, void *arg, const redisReply *r)
{
    struct nodes *ns = arg;
    l->waiting = false;
    if (r == NULL)
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        refused(ns, l, r);
        return;
    }
    if (!line_expects(l, r, REPLY_BIT(REDIS_REPLY_INTEGER), "WAIT"))
        return;
    if (r->integer >= ns->opt->wait) {
        l->held = 0;
        patience_over(&l->patience, cnode_name(l->node));
        tell_all(l, true);
    } else {
        static const char text[] = "WAIT: too few replicas confirm";
        l->since_wait = l->held; /* ask again */
        take_back(l);
        line_pause(l, NULL, text, sizeof text - 1);
        give_up(ns, l, r->integer);
    }
}

void replicas_ask(struct conn *c)
{
    char n[16], ms[16];
    int most = c->all->opt->reply_timeout;
    if (c->line.waiting || c->line.since_wait == 0 || c->line.lost || c->line.un + 4 >= c->line.cap ||
        ring_room(&c->line.wire.ring) < 128)
        return;
    if (c->line.since_wait < WAIT_UNITS && c->line.un > c->line.replied && STAILQ_EMPTY(&c->line.safe))
        return;
    snprintf(n, sizeof n, "%d", c->all->opt->wait);
    snprintf(ms, sizeof ms, "%d", most == 1 ? WAIT_MS / 2 : WAIT_MS);
    c->line.waiting = true;
    c->line.since_wait = 0;
    line_call(&c->line, wait_reply, c->all, "WAIT", n, ms, NULL);
}

void replicas_lost(struct line *l)
{
    l->held = l->since_wait = 0;
    l->waiting = false;
    tell_all(l, false);
}

void replicas_free(struct line *l)
{
    for (struct safe *s; (s = STAILQ_FIRST(&l->safe)) != NULL;) {
        STAILQ_REMOVE_HEAD(&l->safe, link);
        free(s);
    }
}

void cluster_safe(struct line *l, safe_fn *fn, void *arg)
{
    if (!l->waits) {
        fn(l, arg, true);
        return;
    }
    struct safe *s = xmalloc(sizeof *s);
    *s = (struct safe){.fn = fn, .arg = arg};
    STAILQ_INSERT_TAIL(&l->safe, s, link);
    l->held++;
    l->since_wait++;
}
