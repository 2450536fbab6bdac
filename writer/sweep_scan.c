/* The scan of a single server: a step every few milliseconds, for which everything in flight is awaited. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "io.h"
#include "log.h"
#include "resp.h"
#include "sweep.h"
#include "target.h"
#include "writer.h"

#define CALL_MS 20000
#define PAUSE_MAX                                                                                            \
    ((uint64_t)5000) /* us after a step; else twice what it took: the live records come first                \
                      */

/* A cursor means nothing to another server, nor to the same one when it was started anew. */
static void from_the_start(struct sweep *s, const struct node *n)
{
    strlcpy(s->cursor, "0", sizeof s->cursor);
    s->who = n->info.who;
    s->ndbs = s->at = 0;
    s->guard = (struct scan_guard){.n = 0};
}

/* All flows have ended their full sync: see which databases there are. */
static void begin_scan(struct writer *w)
{
    struct sweep *s = &w->sweep;
    struct node *n = &w->node;
    redisReply *r = target_answer(w, n, CALL_MS, "INFO", "keyspace", NULL);
    if (r != NULL && r->type != REDIS_REPLY_STRING)
        target_lose(n, "INFO", "unexpected reply");
    if (r == NULL || n->lost) {
        freeReplyObject(r);
        return; /* again on the next connection, if there is one */
    }
    from_the_start(s, n);
    for (const char *p = strstr(r->str, "\ndb"); p != NULL && s->ndbs < 1024; p = strstr(p + 1, "\ndb"))
        s->dbs[s->ndbs++] = (uint32_t)strtoul(p + 3, NULL, 10);
    freeReplyObject(r);
    s->state = SWEEP_SCANS;
    log_event(LOG_INFO, NO_FLOW, "event=sweep_begins databases=%u", s->ndbs);
}

static bool select_db(struct writer *w, uint32_t db)
{
    char num[16];
    snprintf(num, sizeof num, "%u", db);
    return target_must(w, &w->node, CALL_MS, "SELECT", num, NULL);
}

static bool remove_gathered(struct writer *w)
{
    struct sweep *s = &w->sweep;
    if (s->n == 0)
        return true;
    sweep_make_del(s);
    if (!target_request(w, &w->node, CALL_MS, "DEL", s->del.p, s->del.len))
        return false;
    s->removed += s->n;
    s->n = 0;
    s->keys.len = 0;
    return true;
}

/* What came of one SCAN: remove the keys that were not seen. */
static bool remove_unseen(struct writer *w, const redisReply *keys)
{
    struct sweep *s = &w->sweep;
    s->n = 0;
    s->keys.len = 0;
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        s->scanned++;
        if (k->str == NULL || key_is_ours(k->str, k->len) || sweep_saw(w, s->dbs[s->at], k->str, k->len))
            continue;
        if (s->keys.len + k->len > REC_PAYLOAD_MAX && !remove_gathered(w))
            return false;
        sweep_gather(s, k->str, k->len);
    }
    return remove_gathered(w);
}

static void scan_step(struct writer *w)
{
    struct sweep *s = &w->sweep;
    struct node *n = &w->node;
    bool other = s->dbs[s->at] != n->db;
    if (other && !select_db(w, s->dbs[s->at]))
        return;
    redisReply *r = target_answer(w, n, CALL_MS, "SCAN", s->cursor, "COUNT", SWEEP_COUNT, NULL);
    if (r == NULL)
        return;
    bool ok = reply_is_scan(r) && !scan_circles(&s->guard, r->element[0]->str);
    if (!ok)
        target_lose(n, "SCAN", "unexpected reply");
    if (ok && remove_unseen(w, r->element[1])) {
        strlcpy(s->cursor, r->element[0]->str, sizeof s->cursor);
        s->at += strcmp(s->cursor, "0") == 0;
        n->progress = true;
    }
    freeReplyObject(r);
    if (other && !n->lost)
        (void)select_db(w, n->db);
}

bool sweep_due(const struct writer *w, uint64_t now)
{
    const struct sweep *s = &w->sweep;
    return s->state != SWEEP_OFF && w->cluster == NULL && w->session.stage == ST_RUN && !w->failed &&
           !w->node.lost && sweep_runs(w) && now >= s->next;
}

void sweep_step(struct writer *w)
{
    struct sweep *s = &w->sweep;
    struct node *n = &w->node;
    if (s->state == SWEEP_MARKS || !identity_same(&s->who, &n->info.who)) {
        begin_scan(w);
        return;
    }
    uint64_t begun = mono_us();
    if (s->at < s->ndbs)
        scan_step(w);
    uint64_t now = mono_us(), pause = 2 * (now - begun);
    s->next = now + (pause < PAUSE_MAX ? pause : PAUSE_MAX);
    if (s->at < s->ndbs)
        return;
    /* Until now a restart would have had to begin anew: see write_identity. */
    if ((n->db == 0 || select_db(w, 0)) &&
        target_must(w, n, CALL_MS, "HDEL", w->session.position_key, "sweep", NULL) &&
        (n->db == 0 || select_db(w, n->db)))
        sweep_done(w);
}
