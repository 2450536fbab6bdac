#include "listing.h"

#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster.h"
#include "crc64.h"
#include "ctl.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "ours.h"
#include "slot.h"
#include "../engine/live.h"
#include "../outcome.h"
#include "../session.h"
#include "sweep.h"

#define COUNT      "1000"
#define EVERY      ((uint64_t)1000)   /* us between two steps */
#define LOOK_AGAIN ((uint64_t)200000) /* us */
#define LINES      ((size_t)48 << 10) /* that are given to dfreader at a time: what ctl_send takes */

void listing_free(struct listing *l)
{
    buf_free(&l->found);
    *l = (struct listing){.cl = l->cl,
                          .outcome = l->outcome,
                          .session = l->session,
                          .sweep = l->sweep,
                          .live = l->live,
                          .asked = l->asked,
                          .round = l->round + 1};
}

void listing_ask(struct listing *l, const char *line)
{
    struct listing_order o = {.epoch = l->session->epoch};
    uint64_t flow, epoch, number;
    char slots[SLOTSET_TEXT];
    if (!ctl_getu(line, "flow", &flow) || flow >= REC_FLOWS_MAX || !ctl_getu(line, "epoch", &epoch) ||
        epoch != l->session->epoch || !ctl_getu(line, "n", &number) || number > UINT32_MAX ||
        ctl_get(line, "slots", slots, sizeof slots) <= 0 || !slotset_parse(&o.slots, slots) ||
        l->orders == LISTINGS) {
        log_event(LOG_WARN, NO_FLOW, "event=list_ignored line=%s", log_quote(line, strlen(line)));
        return;
    }
    o.flow = (unsigned)flow;
    o.number = (uint32_t)number;
    l->order[l->orders++] = o;
    l->cl->nodes.stir = true;
}

/* ---- replies ---- */

static struct listing_round *round_of(struct listing *l)
{
    return &l->rounds[l->round % (sizeof l->rounds / sizeof *l->rounds)];
}

/* The listing whose question this reply answers; NULL: it does not count. */
static struct listing *counts(struct conn *c, const redisReply *r, void *arg, const char *what)
{
    struct listing *l = ((struct listing_round *)arg)->all;
    l->cl->nodes.stir = true;
    l->asked--;
    if (r == NULL || arg != round_of(l) || l->phase == LISTING_OFF)
        return NULL;
    if (r->type != REDIS_REPLY_ERROR) {
        c->node->plight = (struct plight){0};
        return l;
    }
    cluster_question_refused(c, r, what);
    return NULL;
}

/* "id address flags master ping pong epoch link slot …" */
static void take_myself(struct listing *l, const struct conn *c, const char *line, size_t n)
{
    uint64_t crc = crc64(c->node->index + 1, c->who.run_id, strlen(c->who.run_id));
    unsigned field = 0;
    for (const char *p = line; p < line + n; field++) {
        size_t k = strcspn(p, " \r\n");
        if (field == 0 || field == 6 || field > 7)
            crc = crc64(crc, p, k);
        l->moving |= field > 7 && p[0] == '[';
        p += k + 1;
    }
    l->print[l->phase == LISTING_LOOKS_AGAIN] += crc;
}

static void on_nodes(struct conn *c, void *arg, const redisReply *r)
{
    struct listing *l = counts(c, r, arg, "CLUSTER");
    if (l == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STRING), "CLUSTER NODES"))
        return;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0') {
        size_t n = strcspn(line, "\n");
        const char *myself = strstr(line, "myself");
        if (myself != NULL && myself < line + n)
            take_myself(l, c, line, n);
    }
    c->node->swept = true;
}

static void on_keyspace(struct conn *c, void *arg, const redisReply *r)
{
    struct listing *l = counts(c, r, arg, "INFO");
    if (l == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STRING), "INFO"))
        return;
    if (l->phase == LISTING_LOOKS)
        cluster_take_dbs(&l->cl->nodes, r->str);
    c->node->swept = true;
}

static void found(struct listing *l, const char *key, size_t n)
{
    const struct listing_order *o = &l->order[0];
    if (key_is_ours(key, n) || !slotset_has(&o->slots, key_slot(key, n)) || n > (CTL_LINE_MAX - 200) / 3)
        return;
    l->found.max = (size_t)64 << 20;
    (void)buf_addf(&l->found, "held flow=%u epoch=%u n=%u key=", o->flow, o->epoch, o->number);
    meta_escape(&l->found, key, n, 0);
    (void)buf_addstr(&l->found, "\n");
}

static void on_scan(struct conn *c, void *arg, const redisReply *r)
{
    struct cnode *n = c->node;
    struct listing *l = counts(c, r, arg, "SCAN");
    if (l == NULL)
        return;
    struct cluster *cl = l->cl;
    if (!reply_is_scan(r) || scan_circles(&n->guard, r->element[0]->str)) {
        conn_lose(c, "SCAN: unexpected reply");
        return;
    }
    for (size_t i = 0; i < r->element[1]->elements; i++)
        if (r->element[1]->element[i]->str != NULL)
            found(l, r->element[1]->element[i]->str, r->element[1]->element[i]->len);
    strlcpy(n->cursor, r->element[0]->str, sizeof n->cursor);
    n->swept = strcmp(n->cursor, "0") == 0;
    if (n->swept && !cl->nodes.slots && ++cl->nodes.at_db < cl->nodes.ndbs)
        n->swept = false;
}

/* ---- rounds ---- */

static void begin(struct listing *l, enum listing_phase phase)
{
    struct cluster *cl = l->cl;
    l->phase = phase;
    l->round++;
    for (unsigned i = 0; i < cl->nodes.n; i++) {
        cl->nodes.node[i]->swept = false;
        strlcpy(cl->nodes.node[i]->cursor, "0", sizeof cl->nodes.node[i]->cursor);
        cl->nodes.node[i]->guard = (struct scan_guard){.n = 0};
    }
    if (phase != LISTING_READS)
        l->print[phase == LISTING_LOOKS_AGAIN] = 0;
    l->moving = false;
    cl->nodes.stir = true;
}

static void question(void *arg, struct conn *c)
{
    struct listing *l = arg;
    struct cluster *cl = l->cl;
    struct listing_round *round = round_of(l);
    round->all = l;
    if (l->phase == LISTING_READS && !cl->nodes.slots && cl->nodes.at_db >= cl->nodes.ndbs) {
        c->node->swept = true;
        return;
    }
    l->asked++;
    if (l->phase != LISTING_READS)
        conn_call(c, cl->nodes.slots ? on_nodes : on_keyspace, round, cl->nodes.slots ? "CLUSTER" : "INFO",
                  cl->nodes.slots ? "NODES" : "keyspace", NULL);
    else
        cluster_scan(c, cl->nodes.slots ? c->db : cl->nodes.dbs[cl->nodes.at_db], on_scan, round,
                     c->node->cursor, COUNT);
}

static void finish(struct listing *l)
{
    const struct listing_order *o = &l->order[0];
    live_say(l->live, "listed flow=%u epoch=%u n=%u", o->flow, o->epoch, o->number);
    l->orders--;
    memmove(l->order, l->order + 1, l->orders * sizeof *l->order);
    l->phase = LISTING_OFF;
    l->round++;
}

/* Nothing may slip from a part that was not scanned yet into one that was. */
static void looked(struct listing *l, uint64_t now)
{
    if (l->moving || (l->phase == LISTING_LOOKS_AGAIN && l->print[0] != l->print[1])) {
        topology_refresh(&l->cl->nodes);
        begin(l, LISTING_LOOKS);
        l->next = now + LOOK_AGAIN;
    } else if (l->phase == LISTING_LOOKS) {
        begin(l, LISTING_READS);
    } else {
        finish(l);
    }
}

/* Lines go as fast as dfreader takes them. False: there are some left. */
static bool pass_on(struct listing *l)
{
    size_t given = 0;
    while (l->sent < l->found.len && given < LINES) {
        const char *line = (const char *)l->found.p + l->sent;
        size_t n = strcspn(line, "\n");
        if (given == 0 && !ctl_idle(&l->live->ctl))
            return false;
        live_say(l->live, "%.*s", (int)n, line);
        l->sent += n + 1;
        given += n + 1;
    }
    if (l->sent < l->found.len)
        return false;
    l->found.len = l->sent = 0;
    return true;
}

void listing_work(struct listing *l, uint64_t now)
{
    if (l->orders == 0 || l->outcome->failed || l->session->stage != ST_RUN || l->sweep->state != SWEEP_OFF ||
        l->live->ctl.fd < 0 || now < l->next || !pass_on(l) || l->asked > 0)
        return;
    if (l->phase == LISTING_OFF)
        begin(l, LISTING_LOOKS);
    l->next = now + EVERY;
    if (cluster_question_all(&l->cl->nodes, question, l))
        return;
    if (l->phase == LISTING_READS)
        begin(l, LISTING_LOOKS_AGAIN);
    else
        looked(l, now);
}

int listing_timeout(const struct listing *l)
{
    return l->orders > 0 ? 2 : -1;
}
