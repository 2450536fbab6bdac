/* The scan of several connections: all masters of a cluster at once, or one server, beside the live records.
 *
 * A round ends well only if no key can have slipped from a part that was not scanned yet into one that was:
 * the masters say before it and behind it which slots they have, with which configuration epoch, and that
 * none is moving; and they are the same processes, as a cursor means nothing to another. Else another round
 * follows. What is found goes in the engine's order, alone in its slot (the hash that dfparse gives a key is
 * not known here). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster.h"
#include "crc64.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "target.h"
#include "../engine/whole.h"
#include "../outcome.h"
#include "../session.h"
#include "sweep.h"

#define EVERY      ((uint64_t)2000)   /* us between two steps of the scan, at least */
#define LOOK_AGAIN ((uint64_t)500000) /* us */

struct found {
    uint32_t db, len;
};

/* ---- what the masters say of themselves ---- */

static void begin_round(struct sweep *s, enum sweep_phase phase)
{
    struct nodes *ns = &s->cl->nodes;
    s->phase = phase;
    s->slots = 0;
    s->print = 0;
    s->moving = false;
    for (unsigned i = 0; i < ns->n; i++)
        ns->node[i]->swept = false;
    ns->stir = true;
}

/* Does this answer count? Not of a session that is void. */
static bool counts(struct sweep *s, const redisReply *r)
{
    s->cl->nodes.stir = true;
    s->asked--;
    return s->state == SWEEP_SCANS && r != NULL;
}

static void print_add(struct sweep *s, const struct cnode *node, const char *p, size_t n)
{
    /* The start is left out: it is only known by and large. */
    uint64_t crc = crc64(node->index + 1, node->who.run_id, strlen(node->who.run_id));
    crc = crc64(crc, node->who.replid, strlen(node->who.replid));
    s->print += crc64(crc, p, n); /* in whatever order they come */
}

/* "id address flags master ping pong epoch link slot ...": what another one may say of it is left out. */
static void take_myself(struct sweep *s, const struct cnode *node, const char *line, size_t n)
{
    unsigned field = 0;
    for (const char *p = line; p < line + n; field++) {
        size_t k = strcspn(p, " \r\n");
        if (field == 0 || field == 2 || field == 6 || field > 7)
            print_add(s, node, p, k);
        if (field > 7 && p[0] == '[') {
            s->moving = true;
        } else if (field > 7) { /* 7 or 0-99 */
            char *to;
            unsigned long first = strtoul(p, &to, 10), last = *to == '-' ? strtoul(to + 1, NULL, 10) : first;
            s->slots += (unsigned)(last - first + 1);
        }
        p += k + 1;
    }
}

static void on_nodes(void *arg, struct cnode *node, const redisReply *r)
{
    struct sweep *s = arg;
    if (!counts(s, r))
        return;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0') {
        size_t n = strcspn(line, "\n");
        const char *myself = strstr(line, "myself");
        if (myself != NULL && myself < line + n)
            take_myself(s, node, line, n);
    }
    node->swept = true;
}

/* A single server: which databases there are. */
static void on_keyspace(void *arg, struct cnode *node, const redisReply *r)
{
    struct sweep *s = arg;
    if (!counts(s, r))
        return;
    if (s->phase == SWEEP_LOOKS)
        cluster_take_dbs(&s->cl->nodes, r->str);
    print_add(s, node, "", 0);
    s->slots = SLOTS;
    node->swept = true;
}

static void looked(struct sweep *s, uint64_t now)
{
    struct nodes *ns = &s->cl->nodes;
    if (s->moving || s->slots != SLOTS) {
        log_event(s->waits ? LOG_DEBUG : LOG_INFO, NO_FLOW,
                  "event=sweep_waits note=\"slots are being moved\"");
        s->waits = true;
        topology_refresh(ns);
        begin_round(s, SWEEP_LOOKS);
        s->next = now + LOOK_AGAIN;
        return;
    }
    uint64_t print = s->print;
    s->waits = false;
    if (s->phase == SWEEP_LOOKS) {
        begin_round(s, SWEEP_READS);
        s->print_first = print;
        for (unsigned i = 0; i < ns->n; i++)
            node_scan_anew(ns->node[i]);
    } else if (print == s->print_first) {
        s->phase = SWEEP_ENDS;
    } else {
        log_event(LOG_INFO, NO_FLOW, "event=sweep_again note=\"the masters, or their slots, have changed\"");
        topology_refresh(ns);
        begin_round(s, SWEEP_LOOKS);
    }
}

/* ---- the scan ---- */

static void on_scan(void *arg, struct cnode *node, const redisReply *keys)
{
    struct sweep *s = arg;
    struct nodes *ns = &s->cl->nodes;
    if (!counts(s, keys))
        return;
    uint32_t db = ns->slots ? 0 : ns->dbs[ns->at_db];
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        struct found f = {.db = db, .len = (uint32_t)k->len};
        s->scanned++;
        if (k->str == NULL || key_is_ours(k->str, k->len) || sweep_saw(s, db, k->str, k->len))
            continue;
        if (buf_add(&s->todo, &f, sizeof f) < 0 || buf_add(&s->todo, k->str, k->len) < 0)
            outcome_fail(s->outcome, EXIT_CANNOT,
                         "event=sweep_failed step=scan error=\"too many keys at once\"");
    }
    node->swept = strcmp(node->cursor, "0") == 0;
    if (node->swept && !ns->slots && ++ns->at_db < ns->ndbs)
        node->swept = false;
}

/* ---- what was found goes ---- */

/* The next key that is still not seen. False: there is none. */
static bool next_found(struct sweep *s, struct found *f, const uint8_t **key)
{
    while (s->todo_at < s->todo.len) {
        memcpy(f, s->todo.p + s->todo_at, sizeof *f);
        *key = s->todo.p + s->todo_at + sizeof *f;
        if (!sweep_saw(s, f->db, *key, f->len))
            return true;
        s->todo_at += sizeof *f + f->len;
    }
    s->todo.len = s->todo_at = 0;
    buf_trim(&s->todo, (size_t)64 << 10);
    if (s->cl->reserved_for == (int)SWEEP_FLOW)
        s->cl->reserved_for = -1;
    return false;
}

/* To a cluster: each as a request of its slot. */
static void remove_by_slots(struct sweep *s)
{
    const uint8_t *key;
    struct found f;
    while (next_found(s, &f, &key)) {
        s->n = 0;
        s->keys.len = 0;
        sweep_gather(s, key, f.len);
        sweep_make_del(s);
        struct rec d = {.type = REC_REQUEST,
                        .flags = RF_IDEMPOTENT | RF_MULTIKEY,
                        .flow = (uint16_t)SWEEP_FLOW,
                        .slot = key_slot(key, f.len),
                        .keyarg = 1,
                        .hash = (uint32_t)crc64(SEEN_CRC, key, f.len),
                        .len = (uint32_t)s->del.len};
        if (s->n > 0 && cluster_put_own(s->cl, &d, s->del.p, 0) == PUT_WAIT)
            return;
        s->removed += s->n;
        s->todo_at += sizeof f + f.len;
    }
}

/* Without slots: alone, and so all of one database together. */
static void on_deleted(struct line *l, void *arg, const redisReply *r)
{
    struct sweep *s = arg;
    struct cnode *other;
    uint64_t due;
    s->cl->nodes.stir = true;
    s->going_sent = false; /* if it was lost or refused it goes again, and nothing else before that */
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_INTEGER), "DEL"))
        return;
    if (r->type == REDIS_REPLY_ERROR &&
        cluster_detour(s->cl, l, 3, NULL, r->str, r->len, &due, &other) != DETOUR_NONE) {
        plight_refused(s->cl, &l->node->plight, NULL, r->str, r->len);
        return;
    }
    l->node->plight = (struct plight){0};
    if (r->type == REDIS_REPLY_ERROR && !s->outcome->dead)
        outcome_give_up(s->outcome, EXIT_CANNOT, "event=command_refused command=DEL reply=%s",
                        log_quote(r->str, r->len));
    sweep_deletes(s, false);
    s->cl->exclusive = false;
    s->removed += s->going_n;
}

static void send_going(struct sweep *s)
{
    struct nodes *ns = &s->cl->nodes;
    struct conn *c = s->going_sent ? NULL : cnode_conn(ns, ns->node[0], 0, s->going.len + 256);
    if (c == NULL)
        return;
    s->going_sent = true;
    cluster_call_in_db(c, s->going_db, on_deleted, s, s->going.p, s->going.len);
}

static void remove_alone(struct sweep *s)
{
    static const uint16_t any = 0;
    const uint8_t *key;
    struct found f;
    if (!next_found(s, &f, &key) || !cluster_slots_free(s->cl, (unsigned)SWEEP_FLOW, &any, 1))
        return;
    s->n = 0;
    s->keys.len = 0;
    s->going_db = f.db;
    do {
        sweep_gather(s, key, f.len);
        s->todo_at += sizeof f + f.len;
    } while (s->keys.len < REC_PAYLOAD_MAX / 2 && next_found(s, &f, &key) && f.db == s->going_db);
    sweep_make_del(s);
    s->going.len = 0;
    (void)buf_add(&s->going, s->del.p, s->del.len);
    s->going_n = s->n;
    sweep_deletes(s, true);
    s->cl->exclusive = true;
    send_going(s);
}

/* ---- all of it ---- */

static void question(void *arg, struct conn *c)
{
    struct sweep *s = arg;
    const struct nodes *ns = &s->cl->nodes;
    bool reads = s->phase == SWEEP_READS;
    if (reads && !ns->slots && ns->at_db >= ns->ndbs) {
        c->line.node->swept = true; /* there is nothing in it */
        return;
    }
    s->asked++;
    if (reads)
        node_scan(c, ns->slots ? c->line.db : ns->dbs[ns->at_db], on_scan, s, SWEEP_COUNT);
    else if (ns->slots)
        node_ask(c, on_nodes, s, "CLUSTER", "NODES");
    else
        node_ask(c, on_keyspace, s, "INFO", "keyspace");
}

/* What was found, and what has to go before live records, must be gone before the positions count. */
static void end(struct sweep *s)
{
    if (s->cl->own == 0 && (!s->cl->nodes.whole || whole_swept(s->whole)))
        sweep_done(s);
}

void sweep_cluster(struct sweep *s, uint64_t now)
{
    if (s->state == SWEEP_OFF)
        return;
    if (s->deleting) {
        send_going(s);
        return;
    }
    if (s->outcome->failed || s->session->stage != ST_RUN || !sweep_runs(s))
        return;
    if (s->state == SWEEP_MARKS && s->asked > 0) /* by a session that is void */
        return;
    if (s->state == SWEEP_MARKS) {
        s->state = SWEEP_SCANS;
        log_event(LOG_INFO, NO_FLOW, "event=sweep_begins");
        begin_round(s, SWEEP_LOOKS);
    }
    if (s->phase == SWEEP_ENDS) {
        end(s);
        return;
    }
    if (s->asked == 0 && s->todo.len > 0) {
        if (s->cl->nodes.slots)
            remove_by_slots(s);
        else
            remove_alone(s);
    }
    if (s->todo.len > 0 || s->asked > 0 || s->deleting || now < s->next)
        return;
    if (s->phase == SWEEP_READS)
        s->next = now + EVERY;
    if (cluster_question_all(&s->cl->nodes, question, s) || s->cl->own_sweep > 0)
        return;
    if (s->phase == SWEEP_READS)
        begin_round(s, SWEEP_LOOKS_AGAIN);
    else
        looked(s, now);
}
