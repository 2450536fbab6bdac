#include "exact.h"

#include <hiredis/hiredis.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "../target/cluster.h"
#include "log.h"
#include "ours.h"
#include "../position/position_text.h"
#include "resp.h"
#include "slot.h"
#include "../options.h"
#include "../position/positions.h"
#include "../session.h"

void exact_open(struct exact *x, bool hashes, const char run[33])
{
    x->on = hashes;
    x->scopes = hashes ? SLOTS : 1;
    x->slot = xcalloc(x->scopes, sizeof *x->slot);
    memcpy(x->process, run, sizeof x->process - 1);
}

static void drop_past(struct exact *x, unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++) {
        free(x->slot[i].past);
        x->slot[i] = (struct exact_slot){.known = true};
    }
}

void exact_free(struct exact *x)
{
    drop_past(x, 0, x->scopes);
    free(x->slot);
    free(x->flow);
    *x = (struct exact){.opt = x->opt, .session = x->session, .positions = x->positions};
}

void exact_forget(struct exact *x, unsigned from, unsigned n)
{
    if (x->on)
        drop_past(x, from, n);
}

static void add_past(struct exact_slot *s, const struct exact_past *p, size_t most)
{
    if (s->past == NULL)
        s->past = xcalloc(most, sizeof *s->past);
    s->past[s->n++] = *p;
}

/* What the key of a whole server says. */
static void take_places(struct exact *x, const struct exact_id *place)
{
    for (unsigned i = 0; i < x->flows; i++) {
        struct exact_past p = {.id = place[i], .flow = (uint16_t)i};
        if (p.id.pos > x->flow[i].start)
            add_past(&x->slot[0], &p, x->flows);
    }
}

/* The hashes are asked when their slots are written to. */
static void begin_history(struct exact *x, const struct session *s)
{
    bool goes_on = s->going_on > 0 && x->saved[0] != '\0';
    if (goes_on)
        strlcpy(x->history, x->saved, sizeof x->history);
    else
        snprintf(x->history, sizeof x->history, "%s.%u", s->nonce + 16, s->epoch);
    if (s->going_on > 0 && !goes_on)
        log_event(LOG_WARN, NO_FLOW, "event=exactly_once_begins note=%s",
                  "\"the session before was --at-least-once, or of an older version: what it had done, but "
                  "not saved, may count "
                  "twice\"");
    for (unsigned i = 0; goes_on && i < x->scopes; i++)
        x->slot[i].known = false;
}

void exact_begin(struct exact *x, const struct exact_id *place)
{
    if (!exact_counts(x))
        return;
    free(x->flow);
    x->flows = x->session->flows;
    x->flow = xcalloc(x->flows, sizeof *x->flow);
    drop_past(x, 0, x->scopes);
    for (unsigned i = 0; i < x->flows; i++)
        x->flow[i].start = x->positions->flow[i].pos;
    if (x->on)
        begin_history(x, x->session);
    else if (x->session->going_on > 0)
        take_places(x, place);
}

/* ---- where a record stands ---- */

static bool counts(const struct rec *r)
{
    return (r->type == REC_REQUEST || r->type == REC_PROGRAM || r->type == REC_BARRIER) &&
           (r->flags & (RF_LIVE | RF_FRESH | RF_MORE)) == RF_LIVE && r->pos > 0;
}

void exact_offer(struct exact *x, const struct rec *r)
{
    const struct exact_flow *f = &x->flow[r->flow];
    x->now = (struct exact_id){0};
    /* One of an earlier position contains none of the entries behind that, which are done. */
    if (r->type == REC_REQUEST && (r->flags & (RF_LIVE | RF_FRESH | RF_MORE)) == (RF_LIVE | RF_FRESH) &&
        r->pos > 0 && r->pos >= f->pos && r->pos >= f->fresh)
        x->now = (struct exact_id){.pos = r->pos, .sub = UINT32_MAX, .step = 1, .fresh = true};
    if (counts(r))
        x->now = (struct exact_id){.pos = r->pos, .sub = f->pos == r->pos ? f->sub + 1 : 1, .step = 1};
}

void exact_taken(struct exact *x, const struct rec *r)
{
    struct exact_flow *f = &x->flow[r->flow];
    if (x->now.fresh)
        f->fresh = r->pos;
    if (!counts(r))
        return;
    if (r->type == REC_BARRIER)
        f->barrier = x->now;
    f->sub = f->pos == r->pos ? f->sub + 1 : 1;
    f->pos = r->pos;
}

/* Order of places within a flow. */
static int compare(const struct exact_id *a, const struct exact_id *b)
{
    if (a->pos != b->pos)
        return a->pos < b->pos ? -1 : 1;
    if (a->sub != b->sub)
        return a->sub < b->sub ? -1 : 1;
    return (a->step > b->step) - (a->step < b->step);
}

/* What an earlier process did of the flow in the slot; NULL: nothing that the stream has not passed. */
static const struct exact_past *past_of(const struct exact *x, unsigned slot, unsigned flow)
{
    const struct exact_slot *s = &x->slot[slot];
    for (unsigned i = 0; i < s->n; i++)
        if (s->past[i].flow == flow)
            return &s->past[i];
    return NULL;
}

bool exact_notes(const struct exact *x, unsigned slot, unsigned flow, const struct exact_id *id)
{
    const struct exact_past *p = id->fresh ? past_of(x, slot, flow) : NULL;
    return id->pos > 0 && (p == NULL || compare(id, &p->id) > 0);
}

bool exact_done(struct exact *x, unsigned slot, unsigned flow, const struct exact_id *id)
{
    struct exact_slot *s = &x->slot[slot];
    if (id->fresh)
        return false;
    const struct exact_past *p = id->pos > 0 && s->n > 0 ? past_of(x, slot, flow) : NULL;
    if (p == NULL)
        return false;
    if (compare(id, &p->id) <= 0)
        return true;
    s->past[p - s->past] = s->past[--s->n]; /* the stream is past it */
    if (s->n == 0) {
        free(s->past);
        s->past = NULL;
    }
    return false;
}

unsigned exact_steps_done(const struct exact *x, const uint16_t *slot, unsigned n, unsigned flow,
                          const struct exact_id *id, uint32_t *held)
{
    const struct exact_id *last = NULL;
    for (unsigned i = 0; i < n && id->pos > 0; i++) {
        const struct exact_past *p = past_of(x, slot[i], flow);
        if (p != NULL && (last == NULL || compare(&p->id, last) > 0))
            last = &p->id;
    }
    if (last == NULL || compare(last, id) < 0)
        return 0;
    *held = last->held;
    return last->pos == id->pos && last->sub == id->sub ? last->step : UINT_MAX;
}

bool exact_unknown(const struct exact *x, const uint16_t *slot, unsigned n, unsigned *which)
{
    for (unsigned i = 0; i < n; i++)
        if (!exact_known(x, slot[i])) {
            *which = i;
            return true;
        }
    return false;
}

/* ---- the hash of a slot ---- */

size_t exact_key(const struct exact *x, unsigned slot, char out[EXACT_KEY_MAX])
{
    char tag[SLOT_TAG_MAX];
    slot_tag(slot, tag);
    return (size_t)snprintf(out, EXACT_KEY_MAX, OUR_KEYS "%s}:%s", tag, x->opt->task);
}

void exact_hset(struct buf *b, const struct exact *x, unsigned slot, uint64_t token, unsigned n)
{
    char text[POSITION_TEXT];
    (void)resp_add_array(b, 4 + 2 * n);
    (void)resp_add_bulk(b, "HSET", 4);
    (void)resp_add_bulk(b, text, exact_key(x, slot, text));
    (void)resp_add_bulk(b, "w", 1);
    (void)resp_add_bulk(b, text, position_pair_print(x->process, token, text));
}

bool exact_written(struct exact *x, unsigned slot, unsigned n, long long added)
{
    struct exact_slot *s = &x->slot[slot];
    bool vanished = s->written && added > (long long)n;
    s->written = true;
    return !vanished;
}

/* Since when positions of the flow count: the full sync; where its master has an id of its own that stays,
 * the beginning of that. */
static void history_of(const struct exact *x, unsigned flow, char out[HISTORY_MAX])
{
    const struct lineage *own = &x->session->flow[flow].own;
    if (own->replid[0] != '\0' && own->top[0] != '\0')
        snprintf(out, HISTORY_MAX, "%.22s/%.8s", x->history, own->top);
    else
        strlcpy(out, x->history, HISTORY_MAX);
}

void exact_field(struct buf *b, const struct exact *x, unsigned flow, const struct exact_id *id)
{
    char name[FLOW_NAME], text[POSITION_TEXT], history[HISTORY_MAX];
    history_of(x, flow, history);
    (void)resp_add_bulk(b, name, position_flow_name(flow, name));
    (void)resp_add_bulk(b, text, position_place_print(history, id, text));
}

void exact_ask(const struct exact *x, struct conn *c, unsigned slot, call_fn *fn, void *arg)
{
    char key[EXACT_KEY_MAX];
    struct buf b = {.max = 2 * EXACT_KEY_MAX};
    (void)resp_add_array(&b, 2);
    (void)resp_add_str(&b, "HGETALL");
    (void)resp_add_bulk(&b, key, exact_key(x, slot, key));
    cluster_call_in_db(c, c->all->slots ? c->line.db : slot / SHARES, fn, arg, b.p, b.len);
    buf_free(&b);
}

static bool read_field(const struct exact *x, const char *name, const char *value, struct exact_past *p)
{
    char history[HISTORY_MAX], ours[HISTORY_MAX];
    if (!position_place_parse(p, history, 'f', x->flows, name, value))
        return false;
    history_of(x, p->flow, ours);
    return strcmp(history, ours) == 0 && p->id.pos > x->flow[p->flow].start;
}

bool exact_learn(struct exact *x, unsigned slot, const redisReply *r, uint64_t token)
{
    struct exact_slot *s = &x->slot[slot];
    struct exact_past p;
    char mine[POSITION_TEXT];
    bool ours = false;
    (void)position_pair_print(x->process, token, mine);
    size_t most = r->type == REDIS_REPLY_ARRAY ? r->elements / 2 : 0;
    for (size_t i = 0; i < most; i++) {
        const char *name = r->element[2 * i]->str, *value = r->element[2 * i + 1]->str;
        if (name == NULL || value == NULL)
            continue;
        s->written |= strcmp(name, "w") == 0;
        ours |= token != 0 && strcmp(name, "w") == 0 && strcmp(value, mine) == 0;
        if (!s->known && s->n < x->flows && read_field(x, name, value, &p))
            add_past(s, &p, most);
    }
    s->known = true;
    return ours;
}
