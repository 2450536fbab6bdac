#include "listing.h"

#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster.h"
#include "crc64.h"
#include "ctl.h"
#include "exits.h"
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
    buf_free(&l->name);
    renames_free(&l->renames);
    *l = (struct listing){.cl = l->cl,
                          .outcome = l->outcome,
                          .session = l->session,
                          .sweep = l->sweep,
                          .live = l->live,
                          .asked = l->asked,
                          .round = l->round + 1};
    for (size_t i = 0; i < sizeof l->rounds / sizeof *l->rounds; i++)
        l->rounds[i].all = l; /* answers may still come */
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

void listing_rename(struct listing *l, const char *line)
{
    uint64_t i, epoch;
    char from[CTL_LINE_MAX], to[CTL_LINE_MAX];
    long nfrom = ctl_get(line, "from", from, sizeof from), nto = ctl_get(line, "to", to, sizeof to);
    if (!ctl_getu(line, "epoch", &epoch) || epoch != l->session->epoch || !ctl_getu(line, "i", &i) ||
        nfrom < 0 || nto < 0 || i > l->renames.n || i == RENAMES_MAX) {
        log_event(LOG_WARN, NO_FLOW, "event=rename_ignored line=%s", log_quote(line, strlen(line)));
        return;
    }
    if (i == l->renames.n) {
        (void)renames_add(&l->renames, from, to);
    } else if (strcmp(l->renames.rule[i].from, from) != 0 || strcmp(l->renames.rule[i].to, to) != 0) {
        outcome_fail(l->outcome, EXIT_USAGE,
                     "event=failed error=\"the dfparse of different flows have other --rename-prefix\"");
    }
}

/* ---- replies ---- */

static struct listing_round *round_of(struct listing *l)
{
    return &l->rounds[l->round % (sizeof l->rounds / sizeof *l->rounds)];
}

/* The listing whose question this answers; NULL: it does not count. */
static struct listing *counts(struct listing_round *round, const redisReply *r)
{
    struct listing *l = round->all;
    l->cl->nodes.stir = true;
    l->asked--;
    return r != NULL && round == round_of(l) && l->phase != LISTING_OFF ? l : NULL;
}

/* "id address flags master ping pong epoch link slot …" */
static void take_myself(struct listing *l, const struct cnode *node, const char *line, size_t n)
{
    uint64_t crc = crc64(node->index + 1, node->who.run_id, strlen(node->who.run_id));
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

static void on_nodes(void *arg, struct cnode *node, const redisReply *r)
{
    struct listing *l = counts(arg, r);
    if (l == NULL)
        return;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0') {
        size_t n = strcspn(line, "\n");
        const char *myself = strstr(line, "myself");
        if (myself != NULL && myself < line + n)
            take_myself(l, node, line, n);
    }
    node->swept = true;
}

static void on_keyspace(void *arg, struct cnode *node, const redisReply *r)
{
    struct listing *l = counts(arg, r);
    if (l == NULL)
        return;
    if (l->phase == LISTING_LOOKS)
        cluster_take_dbs(&l->cl->nodes, r->str);
    node->swept = true;
}

/* Can it have come from one of the slots? */
static bool wanted(struct listing *l, const char *key, size_t n)
{
    const struct slotset *slots = &l->order[0].slots;
    l->name.max = CTL_LINE_MAX + renames_back_growth(&l->renames);
    for (unsigned i = 0; i <= l->renames.n; i++)
        if (renames_back(&l->renames, i, key, n, &l->name) &&
            slotset_has(slots, key_slot(l->name.p, l->name.len)))
            return true;
    return false;
}

static void found(struct listing *l, uint32_t db, const char *key, size_t n)
{
    const struct listing_order *o = &l->order[0];
    if (key_is_ours(key, n) || n > (CTL_LINE_MAX - 200) / 3 || !wanted(l, key, n))
        return;
    l->found.max = (size_t)64 << 20;
    (void)buf_addf(&l->found, "held flow=%u epoch=%u n=%u db=%u key=", o->flow, o->epoch, o->number, db);
    meta_escape(&l->found, key, n, 0);
    (void)buf_addstr(&l->found, "\n");
}

static void on_scan(void *arg, struct cnode *node, const redisReply *keys)
{
    struct listing *l = counts(arg, keys);
    if (l == NULL)
        return;
    struct nodes *ns = &l->cl->nodes;
    uint32_t db = ns->slots ? 0 : ns->dbs[ns->at_db];
    for (size_t i = 0; i < keys->elements; i++)
        if (keys->element[i]->str != NULL)
            found(l, db, keys->element[i]->str, keys->element[i]->len);
    node->swept = strcmp(node->cursor, "0") == 0;
    if (node->swept && !ns->slots && ++ns->at_db < ns->ndbs)
        node->swept = false;
}

/* ---- rounds ---- */

static void begin(struct listing *l, enum listing_phase phase)
{
    struct nodes *ns = &l->cl->nodes;
    l->phase = phase;
    l->round++;
    for (unsigned i = 0; i < ns->n; i++) {
        ns->node[i]->swept = false;
        node_scan_anew(ns->node[i]);
    }
    if (phase != LISTING_READS)
        l->print[phase == LISTING_LOOKS_AGAIN] = 0;
    l->moving = false;
    ns->stir = true;
}

static void question(void *arg, struct conn *c)
{
    struct listing *l = arg;
    const struct nodes *ns = &l->cl->nodes;
    struct listing_round *round = round_of(l);
    bool reads = l->phase == LISTING_READS;
    if (reads && !ns->slots && ns->at_db >= ns->ndbs) {
        c->line.node->swept = true;
        return;
    }
    round->all = l;
    l->asked++;
    if (reads)
        node_scan(c, ns->slots ? c->line.db : ns->dbs[ns->at_db], on_scan, round, COUNT);
    else if (ns->slots)
        node_ask(c, on_nodes, round, "CLUSTER", "NODES");
    else
        node_ask(c, on_keyspace, round, "INFO", "keyspace");
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
