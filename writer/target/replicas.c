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

static void tell_all(struct conn *c, bool ok)
{
    for (struct safe *s; (s = STAILQ_FIRST(&c->safe)) != NULL;) {
        STAILQ_REMOVE_HEAD(&c->safe, link);
        s->fn(c, s->arg, ok);
        free(s);
    }
}

/* A WAIT that has to be repeated leaves no trace where nothing is behind it: while replicas are missing what
 * they do not have stays, and only so many fit beside it. */
static void take_back(struct conn *c)
{
    if (c->un > c->replied)
        return;
    uint32_t len = c->unit[(c->uhead + c->un - 1) & (c->cap - 1)].len;
    c->un--;
    c->replied--;
    c->replied_bytes -= len;
    c->wire.ring.sent -= len;
    c->wire.ring.tail -= len;
}

static void refused(struct conn *c, const redisReply *r)
{
    static const char unknown[] = "ERR unknown command";
    if (error_class(r->str, r->len) == ERR_FATAL || strncmp(r->str, unknown, sizeof unknown - 1) == 0) {
        outcome_give_up(c->all->outcome, EXIT_CANNOT, "event=target_refuses node=%s command=WAIT reply=%s",
                        cnode_name(c->node), log_quote(r->str, r->len));
    }
    conn_lose(c, "WAIT: %s", r->str); /* no master any more: all of it goes to the new one */
}

/* A replica that does not confirm counts as lost like a server that does not answer. Whoever has stopped the
 * task does not wait so long for it. */
static void give_up(struct conn *c, long long confirm)
{
    uint64_t limit = (uint64_t)c->all->opt->reconnect_timeout * 1000000;
    uint64_t waits = us_since(mono_us(), c->patience.since);
    if ((c->all->outcome->stopped || signals_seen() > 0) && limit > STOP_LIMIT)
        limit = STOP_LIMIT;
    if (c->all->outcome->failed || waits < limit)
        return;
    outcome_give_up(c->all->outcome, EXIT_RETRY,
                    "event=replicas_missing node=%s confirm=%lld wait=%d seconds=%llu note=%s",
                    cnode_name(c->node), confirm, c->all->opt->wait, (unsigned long long)(waits / 1000000),
                    "\"what --wait asks for is not there\"");
}

static void wait_reply(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    c->waiting = false;
    if (r == NULL)
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        refused(c, r);
        return;
    }
    if (!conn_expects(c, r, REPLY_BIT(REDIS_REPLY_INTEGER), "WAIT"))
        return;
    if (r->integer >= c->all->opt->wait) {
        c->held = 0;
        patience_over(&c->patience, cnode_name(c->node));
        tell_all(c, true);
    } else {
        static const char text[] = "WAIT: too few replicas confirm";
        c->since_wait = c->held; /* ask again */
        take_back(c);
        conn_pause(c, NULL, text, sizeof text - 1);
        give_up(c, r->integer);
    }
}

void replicas_ask(struct conn *c)
{
    char n[16], ms[16];
    int most = c->all->opt->reply_timeout;
    if (c->waiting || c->since_wait == 0 || c->lost || c->un + 4 >= c->cap || ring_room(&c->wire.ring) < 128)
        return;
    if (c->since_wait < WAIT_UNITS && c->un > c->replied && STAILQ_EMPTY(&c->safe))
        return;
    snprintf(n, sizeof n, "%d", c->all->opt->wait);
    snprintf(ms, sizeof ms, "%d", most == 1 ? WAIT_MS / 2 : WAIT_MS);
    c->waiting = true;
    c->since_wait = 0;
    conn_call(c, wait_reply, NULL, "WAIT", n, ms, NULL);
}

void replicas_lost(struct conn *c)
{
    c->held = c->since_wait = 0;
    c->waiting = false;
    tell_all(c, false);
}

void replicas_free(struct conn *c)
{
    for (struct safe *s; (s = STAILQ_FIRST(&c->safe)) != NULL;) {
        STAILQ_REMOVE_HEAD(&c->safe, link);
        free(s);
    }
}

void cluster_safe(struct conn *c, safe_fn *fn, void *arg)
{
    if (c->all->opt->wait == 0) {
        fn(c, arg, true);
        return;
    }
    struct safe *s = xmalloc(sizeof *s);
    *s = (struct safe){.fn = fn, .arg = arg};
    STAILQ_INSERT_TAIL(&c->safe, s, link);
    c->held++;
    c->since_wait++;
}
