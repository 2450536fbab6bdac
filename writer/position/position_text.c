#include "position_text.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "meta.h"
#include "slotset.h"
#include "../words.h"

/* ---- field "session" ---- */

void position_id_print(const struct position_id *id, char out[POSITION_TEXT])
{
    snprintf(out, POSITION_TEXT, "%s %u %u %s %s", id->nonce, id->epoch, id->flows, id->lineage.replid,
             id->lineage.top);
}

bool position_id_parse(struct position_id *id, const char *text)
{
    uint64_t epoch, flows;
    *id = (struct position_id){.epoch = 0};
    if (!words_text(&text, id->nonce, sizeof id->nonce) || !words_number(&text, UINT32_MAX, &epoch) ||
        !words_number(&text, REC_FLOWS_MAX, &flows) || flows == 0 ||
        !words_text(&text, id->lineage.replid, sizeof id->lineage.replid))
        return false;
    id->epoch = (unsigned)epoch;
    id->flows = (unsigned)flows;
    return *text == '\0' || words_text(&text, id->lineage.top, sizeof id->lineage.top);
}

/* ---- a flow ---- */

size_t position_flow_name(unsigned flow, char out[FLOW_NAME])
{
    return (size_t)snprintf(out, FLOW_NAME, "f%u", flow);
}

size_t position_flow_print(const struct position_flow *f, char *value)
{
    int n = snprintf(value, POSITION_TEXT, "%u %llu %llu", f->epoch, (unsigned long long)f->seq,
                     (unsigned long long)f->pos);
    if (f->quiet > 0 && f->quiet < f->pos)
        n += snprintf(value + n, POSITION_TEXT - (size_t)n, " %llu", (unsigned long long)f->quiet);
    return (size_t)n;
}

static bool flow_of(const char *name, char letter, unsigned flows, unsigned *flow)
{
    uint64_t v;
    if (!words_index(name, letter, UINT32_MAX, &v) || v >= flows)
        return false;
    *flow = (unsigned)v;
    return true;
}

bool position_flow_parse(struct position_flow *f, unsigned flows, const char *name, const char *value)
{
    uint64_t epoch;
    if (!flow_of(name, 'f', flows, &f->flow) || !words_number(&value, UINT32_MAX, &epoch) ||
        !words_number(&value, UINT64_MAX, &f->seq) || !words_number(&value, UINT64_MAX, &f->pos))
        return false;
    f->epoch = (unsigned)epoch;
    if (!words_number(&value, UINT64_MAX, &f->quiet) || f->quiet >= f->pos)
        f->quiet = 0;
    return true;
}

size_t position_quiet_name(unsigned flow, char out[FLOW_NAME])
{
    return (size_t)snprintf(out, FLOW_NAME, "q%u", flow);
}

size_t position_lineage_name(unsigned flow, char out[FLOW_NAME])
{
    return (size_t)snprintf(out, FLOW_NAME, "l%u", flow);
}

size_t position_lineage_print(const struct lineage *l, char *value)
{
    return (size_t)snprintf(value, POSITION_TEXT, "%s %s", l->replid, l->top[0] != '\0' ? l->top : "-");
}

bool position_lineage_parse(struct lineage *l, const char *value)
{
    return words_text(&value, l->replid, sizeof l->replid) && words_text(&value, l->top, sizeof l->top);
}

/* ---- the key of a single server ---- */

/* Its fields but those of flows. */
struct key_fields {
    const char *session;
    bool empty, sweep, verify;
    bool flow;    /* there are some of flows, whichever */
    bool doubled; /* the field session is there twice: the server makes no sense */
};

/* NULL: there is a NUL in it, so it is nothing that we wrote. */
static const char *whole_text(const redisReply *r)
{
    return r->str != NULL && strlen(r->str) == r->len ? r->str : NULL;
}

/* Does it mean to be a field of a flow, of that letter? */
static bool names_flow(const char *name, char letter)
{
    return name[0] == letter && name[1] >= '0' && name[1] <= '9';
}

static void take_field(struct key_fields *k, const char *name, const char *value)
{
    if (strcmp(name, "session") == 0) {
        k->doubled |= k->session != NULL;
        k->session = value != NULL ? value : "";
    } else if (strcmp(name, "empty") == 0) {
        k->empty = true;
    } else if (strcmp(name, "sweep") == 0) {
        k->sweep = true; /* keys may be left that the source does not have any more */
    } else if (strcmp(name, "verify") == 0) {
        k->verify = value != NULL && strcmp(value, "1") == 0;
    } else {
        k->flow |= names_flow(name, 'f') || names_flow(name, 'a') || names_flow(name, 'l');
    }
}

/* False: one was there, and it cannot be told which. */
static bool take_lineages(struct saved_vector *v, const redisReply *r)
{
    unsigned flow;
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        const char *name = whole_text(r->element[i]), *value = whole_text(r->element[i + 1]);
        if (name == NULL || !names_flow(name, 'l'))
            continue;
        if (value == NULL || !flow_of(name, 'l', v->flows, &flow) || v->own[flow].replid[0] != '\0' ||
            !position_lineage_parse(&v->own[flow], value))
            return false;
    }
    return true;
}

size_t position_slots_name(unsigned flow, char out[FLOW_NAME])
{
    return (size_t)snprintf(out, FLOW_NAME, "s%u", flow);
}

void saved_vector_free(struct saved_vector *v)
{
    for (unsigned i = 0; i < REC_FLOWS_MAX; i++) {
        free(v->slots[i]);
        v->slots[i] = NULL;
    }
}

bool position_held_ok(const char *text)
{
    struct slotset set;
    if (strncmp(text, POSITION_SCAN, strlen(POSITION_SCAN)) == 0)
        return strlen(text) < POSITION_TEXT && meta_is_word(text);
    return slotset_parse(&set, text);
}

/* Slots that nothing is said of are taken anew, and a scan whose place is not known begins anew: that is
 * never wrong. */
static void take_slots(struct saved_vector *v, const redisReply *r)
{
    unsigned flow;
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        const char *name = whole_text(r->element[i]), *value = whole_text(r->element[i + 1]);
        if (name != NULL && value != NULL && names_flow(name, 's') && flow_of(name, 's', v->flows, &flow) &&
            v->slots[flow] == NULL && position_held_ok(value))
            v->slots[flow] = xstrdup(value);
    }
}

/* Positions of this epoch. They are known from the end of a flow's full sync on. */
static enum saved_state take_positions(struct saved_vector *v, unsigned epoch, const redisReply *r)
{
    struct position_flow f;
    unsigned whole = 0;
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        const char *name = whole_text(r->element[i]), *value = whole_text(r->element[i + 1]);
        if (name == NULL || !names_flow(name, 'f'))
            continue;
        if (value == NULL || !position_flow_parse(&f, v->flows, name, value) || v->pos[f.flow] != 0)
            return SAVED_LOST; /* there was a position, and it cannot be told which */
        if (f.epoch != epoch || f.pos == 0)
            continue;
        whole++;
        v->pos[f.flow] = f.pos;
        v->quiet[f.flow] = f.quiet;
    }
    return whole == v->flows ? SAVED_WHOLE : SAVED_INCOMPLETE;
}

/* What was carried out beyond these positions. Keys of earlier versions do not have it. False: there was a
 * place, and it cannot be told which. */
static bool take_places(struct saved_vector *v, unsigned epoch, const redisReply *r)
{
    char history[HISTORY_MAX], ours[HISTORY_MAX];
    struct exact_past p;
    snprintf(ours, sizeof ours, "%u", epoch);
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        const char *name = whole_text(r->element[i]), *value = whole_text(r->element[i + 1]);
        if (name == NULL || !names_flow(name, 'a'))
            continue;
        if (value == NULL || !position_place_parse(&p, history, 'a', v->flows, name, value) ||
            p.id.pos == 0 || v->place[p.flow].pos != 0)
            return false;
        if (strcmp(history, ours) != 0)
            continue;
        v->place[p.flow] = p.id;
        if (p.id.pos > v->quiet[p.flow]) /* that was an effect */
            v->quiet[p.flow] = 0;
    }
    return true;
}

void position_key_read(struct saved_vector *v, const redisReply *r)
{
    struct key_fields k = {.session = NULL};
    struct position_id id;
    *v = (struct saved_vector){.state = SAVED_NONE};
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        if (whole_text(r->element[i]) != NULL)
            take_field(&k, whole_text(r->element[i]), whole_text(r->element[i + 1]));
    v->began_empty = k.empty && !k.sweep;
    v->verify = k.verify;
    if (k.session == NULL || k.doubled || !position_id_parse(&id, k.session)) {
        /* Fields of flows alone are what a transaction left that found no key: somebody had removed it. */
        v->state = k.session != NULL || k.flow ? SAVED_LOST : SAVED_NONE;
        return;
    }
    v->lineage = id.lineage;
    v->flows = id.flows;
    v->state = take_lineages(v, r) ? take_positions(v, id.epoch, r) : SAVED_LOST;
    if (v->state != SAVED_LOST && !take_places(v, id.epoch, r))
        v->state = SAVED_LOST;
    if (v->state == SAVED_WHOLE && k.sweep)
        v->state = SAVED_INCOMPLETE;
    if (v->state == SAVED_LOST)
        *v = (struct saved_vector){.state = SAVED_LOST, .verify = v->verify};
    else
        take_slots(v, r);
}

/* ---- what was carried out: of a slot's hash, and of the single server's key ---- */

size_t position_place_name(unsigned flow, char out[FLOW_NAME])
{
    return (size_t)snprintf(out, FLOW_NAME, "a%u", flow);
}

size_t position_place_print(const char *history, const struct exact_id *id, char *value)
{
    return (size_t)snprintf(value, POSITION_TEXT, "%s %llu %u %u %u", history, (unsigned long long)id->pos,
                            id->sub, id->step, id->held);
}

bool position_place_parse(struct exact_past *p, char history[HISTORY_MAX], char letter, unsigned flows,
                          const char *name, const char *value)
{
    uint64_t sub, step, held;
    unsigned flow;
    if (!flow_of(name, letter, flows, &flow) || !words_text(&value, history, HISTORY_MAX) ||
        !words_number(&value, UINT64_MAX, &p->id.pos) || !words_number(&value, UINT32_MAX, &sub) ||
        !words_number(&value, UINT32_MAX, &step) || !words_number(&value, UINT32_MAX, &held))
        return false;
    p->flow = (uint16_t)flow;
    p->id.sub = (uint32_t)sub;
    p->id.step = (uint32_t)step;
    p->id.held = (uint32_t)held;
    return true;
}

/* ---- a word and a number: tokens and marks ---- */

size_t position_pair_print(const char *word, uint64_t number, char *value)
{
    return (size_t)snprintf(value, POSITION_TEXT, "%s %llu", word, (unsigned long long)number);
}

bool position_mark_parse(const char *value, size_t n, char history[HISTORY_MAX], uint64_t *number)
{
    return strlen(value) == n && words_text(&value, history, HISTORY_MAX) &&
           words_number(&value, UINT64_MAX, number);
}

/* ---- to dfreader ---- */

const char *position_state(enum saved_state s)
{
    static const char *const states[] = {"none", "lost", "incomplete", "saved"};
    return states[s];
}

void position_say(const struct saved_vector *v, unsigned epoch, struct buf *b)
{
    (void)buf_addf(b, "resume epoch=%u state=%s ", epoch, position_state(v->state));
    if (v->state != SAVED_NONE)
        lineage_add(b, &v->lineage, ' ');
    (void)buf_addf(b, "flows=%u verify=%d", v->flows, v->verify);
}

void position_say_flow(const struct saved_vector *v, unsigned flow, struct buf *b)
{
    (void)buf_addf(b, "from flow=%u pos=%llu", flow, (unsigned long long)v->pos[flow]);
    if (v->quiet[flow] > 0 && v->quiet[flow] < v->pos[flow])
        (void)buf_addf(b, " quiet=%llu", (unsigned long long)v->quiet[flow]);
    if (v->slots[flow] != NULL)
        (void)buf_addf(b, " %s=%s", v->slots[flow][0] == POSITION_SCAN[0] ? "place" : "slots",
                       v->slots[flow]);
    if (v->own[flow].replid[0] == '\0')
        return;
    (void)buf_addstr(b, " ");
    lineage_add(b, &v->own[flow], ' ');
    b->len--;
}
