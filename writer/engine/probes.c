#include "probes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "log.h"
#include "meta.h"
#include "../options.h"
#include "../session.h"
#include "live.h"

#define CTL_ENOUGH ((size_t)32 << 10) /* bytes that wait for dfreader: no more is added */

/* Numbers are an index + 1 and, above that, the run. */
#define INDEX_BITS 14u
#define INDEX_MASK ((1u << INDEX_BITS) - 1)

struct probe {
    struct buf name; /* of the source */
    uint32_t db;
    uint32_t next; /* in its list */
    uint16_t flow;
    uint8_t kind, turn;
    bool used, there;
};

_Static_assert(PROBES_MAX < INDEX_MASK, "an index has too few bits");

void probes_free(struct probes *p)
{
    for (unsigned i = 0; p->v != NULL && i < PROBES_MAX; i++)
        buf_free(&p->v[i].name);
    free(p->v);
    free(p->count);
    free(p->told);
    free(p->order);
    free(p->flow_done);
    *p = (struct probes){.opt = p->opt, .session = p->session, .live = p->live, .run = p->run};
}

void probes_begin(struct probes *p, unsigned flows)
{
    probes_free(p);
    p->run = (p->run + 1) & (UINT32_MAX >> INDEX_BITS);
    p->flows = flows;
}

static void first_one(struct probes *p)
{
    p->v = xcalloc(PROBES_MAX, sizeof *p->v);
    for (uint32_t i = 0; i < PROBES_MAX; i++)
        p->v[i].next = i + 1 < PROBES_MAX ? i + 2 : 0;
    p->free = 1;
    p->count = xcalloc(p->flows, sizeof *p->count);
    p->told = xcalloc(p->flows, sizeof *p->told);
    p->order = xcalloc(p->flows, sizeof *p->order);
    p->flow_done = xcalloc(p->flows, sizeof *p->flow_done);
}

static void release(struct probes *p, uint32_t index)
{
    struct probe *b = &p->v[index - 1];
    b->used = false;
    b->next = p->free;
    p->free = index;
}

/* NULL: it is none of this epoch's. */
static struct probe *find(struct probes *p, uint32_t number)
{
    uint32_t index = number & INDEX_MASK;
    if (p->v == NULL || index == 0 || index > PROBES_MAX || number >> INDEX_BITS != p->run ||
        !p->v[index - 1].used)
        return NULL;
    return &p->v[index - 1];
}

static void count(struct probe_count *c, unsigned kind, bool there)
{
    c->keys += kind == PROBE_KEY;
    c->again += kind == PROBE_AGAIN;
    c->later += kind == PROBE_LATER;
    c->found += kind == PROBE_AGAIN && there;
}

/* ---- the order of probes with and without a question (struct probe_order) ---- */

static void add(struct probe_count *to, struct probe_count *from)
{
    to->keys += from->keys;
    to->again += from->again;
    to->later += from->later;
    *from = (struct probe_count){0};
}

static void goes(struct probes *p, struct probe *b)
{
    struct probe_order *o = &p->order[b->flow];
    b->turn = (uint8_t)o->turn;
    o->on_way[o->turn]++;
}

/* The probes before are answered: what waited for them counts, and what came meanwhile waits for those that
 * are on their way now. */
static void turn_ends(struct probes *p, unsigned flow)
{
    struct probe_order *o = &p->order[flow];
    while (o->waits[0] && o->on_way[!o->turn] == 0) {
        add(&p->count[flow], &o->wait[0]);
        add(&o->wait[0], &o->wait[1]);
        o->waits[0] = o->waits[1];
        o->waits[1] = false;
        if (o->waits[0])
            o->turn = !o->turn;
    }
}

static void arrived(struct probes *p, const struct probe *b)
{
    p->order[b->flow].on_way[b->turn]--;
    turn_ends(p, b->flow);
}

/* One without a question. */
static void nothing_asked(struct probes *p, unsigned flow, unsigned kind)
{
    struct probe_order *o = &p->order[flow];
    bool second = o->waits[0];
    count(&o->wait[second], kind, false);
    o->waits[second] = true;
    if (!second)
        o->turn = !o->turn;
    turn_ends(p, flow);
}

/* ---- records ---- */

const char *probes_take(struct probes *p, const struct rec *r, const uint8_t *payload,
                        const uint8_t **request, uint32_t *n, bool *wait)
{
    struct probe_head h;
    *wait = false;
    p->now = 0;
    if (r->len < sizeof h)
        return "malformed PROBE record";
    memcpy(&h, payload, sizeof h);
    if (h.kind >= PROBE_KINDS || h.n > r->len - sizeof h)
        return "malformed PROBE record";
    *request = payload + sizeof h + h.n;
    *n = r->len - (uint32_t)sizeof h - h.n;
    if (p->v == NULL)
        first_one(p);
    if (*n == 0 || !p->session->live) {
        *n = 0;
        return NULL;
    }
    *wait = p->free == 0;
    if (*wait)
        return NULL;
    struct probe *b = &p->v[p->free - 1];
    p->now = p->free | p->run << INDEX_BITS;
    p->free = b->next;
    b->used = true;
    b->there = false;
    b->kind = h.kind;
    b->flow = r->flow;
    b->db = h.db;
    b->name.len = 0;
    b->name.max = REC_PAYLOAD_MAX;
    (void)buf_add(&b->name, payload + sizeof h, h.n);
    goes(p, b);
    return NULL;
}

static bool begins_or_ends(struct probes *p, const struct rec *r, bool begins)
{
    uint64_t *done = &p->flow_done[r->flow];
    p->done += !begins && *done == 0;
    p->done -= begins && *done > 0;
    *done = begins ? 0 : r->seq;
    bool owed = p->done < p->flows;
    bool news = owed != p->owed;
    p->owed = owed;
    if (!owed)
        log_event(LOG_INFO, NO_FLOW, "event=verified epoch=%u", p->session->epoch);
    return news;
}

bool probes_taken(struct probes *p, const struct rec *r, const uint8_t *payload, bool went)
{
    struct probe_head h;
    if (!went) {
        if (p->now != 0) {
            arrived(p, &p->v[(p->now & INDEX_MASK) - 1]);
            release(p, p->now & INDEX_MASK);
        }
        p->now = 0;
        return false;
    }
    bool news = false;
    memcpy(&h, payload, sizeof h);
    if (h.kind == PROBE_BEGIN || h.kind == PROBE_DONE)
        news = begins_or_ends(p, r, h.kind == PROBE_BEGIN);
    else if (p->now == 0)
        nothing_asked(p, r->flow, h.kind);
    p->now = 0;
    return news;
}

/* ---- answers ---- */

void probe_answer(struct probes *p, uint32_t number, long long reply)
{
    struct probe *b = find(p, number);
    if (b != NULL)
        b->there = reply > 0;
}

void probe_done(struct probes *p, uint32_t number)
{
    struct probe *b = find(p, number);
    if (b == NULL)
        return;
    uint32_t index = number & INDEX_MASK;
    p->live->pending = true;
    count(&p->count[b->flow], b->kind, b->there);
    arrived(p, b);
    if (b->there || b->kind == PROBE_AGAIN ||
        b->kind == PROBE_LATER) { /* read again once: the source lacks it too, or it is not carried over */
        release(p, index);
        return;
    }
    b->next = 0;
    if (p->waiting == 0)
        p->waiting = index;
    else
        p->v[p->last - 1].next = index;
    p->last = index;
}

bool probe_fails(const char *text, size_t len)
{
    enum err_class class = error_class(text, len);
    return class != ERR_REDIRECT && class != ERR_RETRY;
}

/* The first time it is said what for; the key is as good as there, as nothing is known of it. */
void probe_refused(struct probes *p, uint32_t number, const char *text, size_t len)
{
    probe_answer(p, number, 1);
    if (p->refused)
        return;
    p->refused = true;
    snprintf(p->refusal, sizeof p->refusal, "%.*s", (int)len, text);
    log_event(LOG_WARN, NO_FLOW, "event=probe_refused target=%s reply=%s", p->opt->shown,
              log_quote(text, len));
}

/* ---- telling ---- */

static int tell_refusal(struct probes *p)
{
    struct buf b = {.max = CTL_LINE_MAX};
    meta_add(&b, "reason", p->refusal, strlen(p->refusal), '\0');
    int rc = ctl_send(&p->live->ctl, "unprobed epoch=%u %s", p->session->epoch, (const char *)b.p);
    buf_free(&b);
    p->refusal_told = true;
    return rc;
}

static int tell_missing(struct probes *p, const struct probe *b)
{
    struct buf text = {.max = CTL_LINE_MAX};
    meta_add(&text, "key", b->name.p, b->name.len, '\0');
    int rc = 0;
    if (text.len > 0 && text.len < CTL_LINE_MAX - 100)
        rc = ctl_send(&p->live->ctl, "missing flow=%u epoch=%u db=%u own=%u %s", b->flow, p->session->epoch,
                      b->db, b->kind == PROBE_OWN ? 1u : 0u, (const char *)text.p);
    else
        log_event(LOG_WARN, b->flow,
                  "event=not_verified note=\"a key whose name is too long to be read again\"");
    buf_free(&text);
    return rc;
}

/* Only behind what is missing: dfreader then knows what is still to be looked for. */
static int tell_counts(struct probes *p)
{
    int rc = 0;
    for (unsigned i = 0; i < p->flows && rc == 0; i++) {
        const struct probe_count *c = &p->count[i];
        if (memcmp(c, &p->told[i], sizeof *c) == 0)
            continue;
        if (p->live->ctl.out.len > CTL_ENOUGH) {
            p->live->pending = true;
            return 0;
        }
        rc = ctl_send(&p->live->ctl, "probed flow=%u epoch=%u keys=%llu again=%llu later=%llu found=%llu", i,
                      p->session->epoch, (unsigned long long)c->keys, (unsigned long long)c->again,
                      (unsigned long long)c->later, (unsigned long long)c->found);
        p->told[i] = *c;
    }
    return rc;
}

bool probes_tell(struct probes *p)
{
    int rc = 0;
    if (p->v == NULL)
        return true;
    while (p->waiting != 0 && rc == 0 && p->live->ctl.fd >= 0 && p->live->ctl.out.len < CTL_ENOUGH) {
        uint32_t index = p->waiting;
        rc = tell_missing(p, &p->v[index - 1]);
        p->waiting = p->v[index - 1].next;
        release(p, index);
    }
    if (rc == 0 && p->refused && !p->refusal_told && p->live->ctl.fd >= 0)
        rc = tell_refusal(p);
    p->live->pending |= p->waiting != 0;
    if (rc == 0 && p->waiting == 0 && p->live->ctl.fd >= 0)
        rc = tell_counts(p);
    return rc == 0;
}
