#include "bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "bundle_parts.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"
#include "resp.h"
#include "suspect.h"

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

#define WINDOW_MAX 65536u
#define QUEUED_US  ((uint64_t)2000) /* us that transactions may wait at the target */
#define LATELY_US  ((uint64_t)10000000)
#define SPARE_MAX  1024u /* kept for the next ones */

/* What the commands of a transaction are besides its elements. */
#define CMD_POSITION (-1)
#define CMD_SELECT   (-2) /* and below: of database CMD_SELECT - cmd */

/* A command that was refused; the text follows. */
struct fault {
    int32_t cmd;
    uint32_t len;
};

static const struct unit_calls requests, end;

struct bundles *bundles_new(void)
{
    struct bundles *b = xcalloc(1, sizeof *b);
    TAILQ_INIT(&b->used);
    TAILQ_INIT(&b->spare);
    TAILQ_INIT(&b->ready);
    return b;
}

void bundles_gather(struct bundles *b, const struct store *store)
{
    b->store = store;
    b->at = xcalloc(SLOTS, sizeof(struct bundle *));
}

static void bundle_free(struct bundle *t)
{
    buf_free(&t->req);
    buf_free(&t->faults);
    buf_free(&t->hset);
    hashset_free(&t->keys);
    free(t->cmd);
    free(t->e);
    free(t);
}

static void free_list(struct bundle_list *l)
{
    for (struct bundle *t; (t = TAILQ_FIRST(l)) != NULL;) {
        TAILQ_REMOVE(l, t, link);
        bundle_free(t);
    }
}

void bundles_free(struct bundles *b)
{
    if (b == NULL)
        return;
    free_list(&b->used);
    free_list(&b->spare);
    free(b->at);
    free(b);
}

bool bundles_quiet(const struct bundles *b)
{
    return b->collecting == 0 && b->flying == 0;
}

bool bundles_unseen(const struct bundles *b)
{
    return b->unseen > 0;
}

bool bundles_hold(const struct bundles *b, uint32_t key)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct bundle *t = i == 0 ? b->at[WHOLE_SCOPE] : b->whole;
        if (t != NULL && (t->multikey || (t->keys.count > 0 && hashset_has(&t->keys, key))))
            return true;
    }
    return false;
}

struct bundle *bundle_new(struct bundles *b, unsigned slot)
{
    struct bundle *t = TAILQ_FIRST(&b->spare);
    if (t != NULL) {
        TAILQ_REMOVE(&b->spare, t, link);
        b->nspare--;
    } else {
        t = xcalloc(1, sizeof *t);
        t->req.max = BUNDLE_BYTES + REC_PAYLOAD_MAX;
        t->faults.max = BUNDLE_MAX * (sizeof(struct fault) + 256);
        t->hset.max =
            2 * EXACT_HSET_MAX + REC_FLOWS_MAX * (EXACT_FIELD_MAX + LINEAGE_MAX + SLOTSET_TEXT + 64);
    }
    TAILQ_INSERT_TAIL(&b->used, t, link);
    t->n = t->open = t->selects = t->ncmd = 0;
    t->req.len = t->faults.len = t->hset.len = 0;
    t->slot = (uint16_t)slot;
    t->saves = t->doubt = t->listed = t->strange = false;
    t->multikey = t->barrier = t->parts = false;
    t->held = 0;
    t->flows = b->flows;
    t->more = b->more;
    t->token = 0;
    t->node = NULL;
    t->plight = (struct plight){0};
    t->single = false;
    t->step = -1;
    t->why_len = t->tries = 0;
    t->fn = NULL;
    t->since = mono_us();
    return t;
}

static void bundle_retire(struct bundles *b, struct bundle *t)
{
    TAILQ_REMOVE(&b->used, t, link);
    if (b->nspare >= SPARE_MAX) {
        bundle_free(t);
        return;
    }
    b->nspare++;
    t->req.len = t->faults.len = t->hset.len = 0;
    buf_trim(&t->req, (size_t)16 << 10);
    buf_trim(&t->faults, (size_t)1 << 10);
    buf_trim(&t->hset, (size_t)4 << 10);
    if (t->cap > 64) {
        free(t->e);
        free(t->cmd);
        t->e = NULL;
        t->cmd = NULL;
        t->cap = t->cmd_cap = 0;
    }
    TAILQ_INSERT_HEAD(&b->spare, t, link);
}

struct element *bundle_add(struct bundle *t, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    if (t->n == t->cap) {
        t->cap = t->cap > 0 ? 4 * t->cap : 4;
        t->e = xrealloc(t->e, t->cap * sizeof *t->e);
    }
    t->selects += t->n > 0 && t->e[t->n - 1].r.db != r->db;
    struct element *e = &t->e[t->n++];
    *e = (struct element){.r = *r, .off = (uint32_t)t->req.len, .vclass = vclass};
    (void)buf_add(&t->req, payload, r->len); /* within its bound: who adds has looked */
    return e;
}

/* ---- under way ---- */

struct cunit bundle_unit(struct bundle *t)
{
    return (struct cunit){.kind = CU_EXEC,
                          .calls = &end,
                          .arg = t,
                          .db = t->n > 0 ? t->e[0].r.db : 0,
                          .slot = t->slot,
                          .flags = t->parts ? 0 : CF_LIVE | CF_ALONE,
                          .tries = t->tries,
                          .plight = t->plight};
}

size_t bundle_size(const struct cunit *u)
{
    const struct bundle *t = u->arg;
    unsigned flows = t->n < REC_FLOWS_MAX ? t->n : REC_FLOWS_MAX;
    if (flows < t->flows)
        flows = t->flows;
    return (t->barrier ? flows * LINEAGE_MAX : 0) + t->req.len + sizeof multi + sizeof exec + EXACT_HSET_MAX +
           flows * EXACT_FIELD_MAX + (t->selects + 3) * SELECT_BYTES + t->more;
}

/* The slot's position, with the last record of each flow that is sent. */
static void put_position(struct writer *w, struct bundle *t)
{
    unsigned last[REC_FLOWS_MAX], n = 0;
    struct exact *x = &w->exact;
    const struct store *store = w->cluster->bundles->store;
    if (store != NULL) {
        store->position(w, t);
        return;
    }
    x->stamp++;
    for (unsigned i = t->step < 0 ? t->n : (unsigned)t->step + 1; i-- > 0;) {
        const struct element *e = &t->e[i];
        if (!exact_notes(w, t->slot, e->r.flow, &e->id) || e->already || x->flow[e->r.flow].stamp == x->stamp)
            continue;
        x->flow[e->r.flow].stamp = x->stamp;
        last[n++] = i;
    }
    t->hset.len = 0;
    t->fields = n;
    t->added = 0;
    exact_hset(&t->hset, w, t->slot, t->token, n);
    for (unsigned i = 0; i < n; i++)
        exact_field(&t->hset, w, t->e[last[i]].r.flow, &t->e[last[i]].id);
}

/* What an earlier process did is not done again. Returns whether anything is left. */
static bool leave_out(struct writer *w, struct bundle *t)
{
    bool any = false, past = exact_any(&w->exact, t->slot);
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        if (past && !e->out && exact_done(w, t->slot, e->r.flow, &e->id)) {
            e->out = e->already = true;
            w->stats.already++;
        }
        any |= !e->out;
    }
    return any;
}

static void on_learned(struct conn *c, void *arg, const redisReply *r);
static void element_error(struct writer *w, struct bundle *t, struct element *e, const char *text,
                          size_t len);

void bundle_saves(struct writer *w, struct bundle *t)
{
    t->saves = true;
    if (t->token == 0 && w->exact.on)
        t->token = exact_token(&w->exact);
}

/* The request that goes alone; -1: all that are left. */
static int step_of(const struct bundle *t)
{
    int first = -1;
    for (unsigned i = 0; t->single && i < t->n; i++)
        if (!t->e[i].out && first < 0)
            first = (int)i;
        else if (!t->e[i].out)
            return first;
    return -1;
}

/* The first request that is left; t->n: none is. */
static unsigned first_left(const struct bundle *t)
{
    unsigned i = 0;
    while (i < t->n && t->e[i].out)
        i++;
    return i;
}

static void again(struct writer *w, const struct cunit *u, uint64_t due, struct cnode *ask);

/* The requests of one key as a transaction of their own, which goes alone. */
static void divide_key(struct writer *w, struct bundle *t, unsigned first)
{
    struct bundle *k = bundle_new(w->cluster->bundles, t->slot);
    k->parts = true;
    k->plight.lost = SUSPECT_AFTER;
    for (unsigned i = first; i < t->n; i++) {
        const struct element *e = &t->e[i];
        if (e->r.hash != t->e[first].r.hash || e->r.db != t->e[first].r.db)
            continue;
        struct element *to = bundle_add(k, &e->r, t->req.p + e->off, e->vclass);
        to->holds = e->holds;
        to->resets = e->resets;
        to->out = e->out;
    }
    w->cluster->bundles->flying++;
    w->cluster->bundles->parts++;
    struct cunit u = bundle_unit(k);
    again(w, &u, 0, NULL);
}

/* Keys of the snapshot: each goes alone; the requests of one go one by one, unless one of them must not be
 * repeated: then all of them fail. Returns whether nothing of it is left. */
static bool give_up_parts(struct writer *w, struct bundle *t)
{
    unsigned keys = 0;
    bool once = false;
    for (unsigned i = 0; i < t->n; i++) {
        keys += t->e[i].holds;
        once |= (t->e[i].r.flags & RF_IDEMPOTENT) == 0;
    }
    for (unsigned i = 0; i < t->n && keys > 1; i++)
        if (t->e[i].holds)
            divide_key(w, t, i);
    if (keys > 1) {
        t->n = 0; /* they are in the others now */
        return true;
    }
    t->plight.lost = SUSPECT_AFTER;
    t->plight.alone = 0;
    if (!once && !t->single && t->n > 1) {
        t->single = true;
        return false;
    }
    if (!suspect_found(w, &w->cluster->given_up))
        return false;
    const char *text = suspect_text(t->lost);
    unsigned first = first_left(t);
    for (unsigned i = first; i < t->n; i++)
        if (!t->e[i].out && (once || i == first))
            element_error(w, t, &t->e[i], text, strlen(text));
    return first_left(t) >= t->n;
}

/* It is what its connections were lost for: so is one of its requests. Returns whether nothing of it is left.
 */
static bool give_up(struct conn *c, struct bundle *t)
{
    t->step = -1;
    if (t->parts)
        return give_up_parts(c->w, t);
    unsigned first = first_left(t);
    bool one = t->single || t->n == 1;
    t->single = true;
    bundle_saves(c->w, t); /* a part of what may be repeated as a whole may not */
    t->plight.lost = SUSPECT_AFTER;
    t->plight.alone = 0;
    if (!one || first >= t->n || !suspect_found(c->w, &c->w->cluster->given_up))
        return false;
    const char *text = suspect_text(t->lost);
    element_error(c->w, t, &t->e[first], text, strlen(text));
    return first_left(t) >= t->n;
}

static void command(struct bundle *t, int32_t what)
{
    if (t->ncmd == t->cmd_cap) {
        t->cmd_cap = t->cmd_cap > 0 ? 4 * t->cmd_cap : 8;
        t->cmd = xrealloc(t->cmd, t->cmd_cap * sizeof *t->cmd);
    }
    t->cmd[t->ncmd++] = what;
}

static void select_db(struct bundle *t, uint32_t *db, uint32_t to)
{
    if (*db != to)
        command(t, CMD_SELECT - (int32_t)to);
    *db = to;
}

/* What stands between MULTI and EXEC. Of a single server it may be of several databases; the connection's
 * stays as it was, executed or not. Returns whether it is all of its requests as they are. */
static bool list_commands(const struct conn *c, struct bundle *t)
{
    const struct cluster *cl = c->w->cluster;
    bool selects = cl->within || (cl->whole && !t->parts);
    uint32_t db = c->db;
    t->ncmd = 0;
    for (unsigned i = 0; i < t->n; i++) {
        t->e[i].odd = false;
        if (t->e[i].out || (t->step >= 0 && i != (unsigned)t->step))
            continue;
        if (selects)
            select_db(t, &db, t->e[i].r.db);
        command(t, (int32_t)i);
    }
    bool all = t->ncmd == t->n;
    if (t->saves && selects) /* of a share it lies in its database */
        select_db(t, &db, cl->whole ? 0 : t->e[0].r.db);
    if (t->saves)
        command(t, CMD_POSITION);
    if (selects)
        select_db(t, &db, c->db);
    return all;
}

static void put_select(struct conn *c, uint32_t db)
{
    uint8_t num[20], req[SELECT_BYTES];
    uint8_t *p = resp_len(req, '*', 2);
    p = resp_bulk(p, "SELECT", 6);
    p = resp_bulk(p, num, dec_u64(num, db));
    conn_more(c, req, (size_t)(p - req));
}

/* MULTI and what stands behind it, as one unit that has a reply to each. */
static void put_requests(struct conn *c, struct bundle *t)
{
    struct cunit part = {.kind = CU_QUEUED, .calls = &requests, .arg = t};
    bool all = list_commands(c, t);
    unsigned k = 0;
    part.mark = 1 + t->ncmd;
    conn_add(c, &part, multi, sizeof multi - 1);
    for (; all && k < t->ncmd && t->cmd[k] == (int32_t)k; k++)
        ;
    if (k > 0)
        conn_more(c, t->req.p, k < t->n ? t->e[k].off : t->req.len);
    for (; k < t->ncmd; k++)
        if (t->cmd[k] >= 0) {
            conn_more(c, t->req.p + t->e[t->cmd[k]].off, t->e[t->cmd[k]].r.len);
        } else if (t->cmd[k] == CMD_POSITION) {
            put_position(c->w, t);
            conn_more(c, t->hset.p, t->hset.len);
        } else {
            put_select(c, (uint32_t)(CMD_SELECT - t->cmd[k]));
        }
}

/* Requests of our own, which somebody waits for. */
static bool is_ours(const struct bundle *t)
{
    return t->fn != NULL && (t->n == 0 || t->e[0].own);
}

static void on_safe(struct conn *c, void *arg, bool ok);

/* Is it known whether it was carried out before? If not, that is found out first; if so, it is done. */
static bool already(struct conn *c, const struct cunit *u, struct bundle *t)
{
    struct writer *w = c->w;
    if (!t->saves)
        return false;
    const struct store *store = w->cluster->bundles->store;
    if (store != NULL) { /* the handshake has read the key */
        int has = t->doubt ? store->has(w, t) : 0;
        t->doubt = false;
        if (has < 0)
            cluster_lost_data(c, "half a transaction is there");
        if (has > 0)
            on_safe(c, t, true);
        if (has != 0)
            return true;
    } else if (t->doubt || !exact_known(&w->exact, t->slot)) {
        exact_ask(c, t->slot, on_learned, t);
        return true;
    }
    if (is_ours(t) || leave_out(w, t))
        return false;
    bundle_finish(w, u, true);
    return true;
}

void bundle_transmit(struct conn *c, const struct cunit *u)
{
    struct bundle *t = u->arg;
    t->replies = 0;
    t->faults.len = 0;
    t->tries = u->tries;
    if (already(c, u, t))
        return;
    if (plight_hopeless(&t->plight) && !is_ours(t) && give_up(c, t)) {
        bundle_finish(c->w, u, false);
        return;
    }
    if (already(c, u, t)) /* it was not asked before it was to go in steps */
        return;
    t->strange = false;
    t->step = step_of(t);
    t->sent_at = mono_us();
    t->node = c->node;
    c->node->under_way += t->n;
    put_requests(c, t);
    conn_add(c, u, exec, sizeof exec - 1);
}

static void note_fault(struct bundle *t, int32_t cmd, const char *text, size_t len)
{
    struct fault f = {.cmd = cmd, .len = (uint32_t)(len < 255 ? len : 255)};
    if (buf_add(&t->faults, &f, sizeof f) == 0)
        (void)buf_add(&t->faults, text, f.len);
}

/* Nothing can be done here, or with these rights. */
static void refuses(struct conn *c, const char *text, size_t len)
{
    if (!c->w->cluster->dead)
        writer_fail(c->w, EXIT_CANNOT, "event=target_refuses node=%s reply=%s", cnode_name(c->node),
                    log_quote(text, len));
    c->w->cluster->dead = true;
}

static bool on_queued(struct conn *c, struct cunit *part, const uint8_t *bytes)
{
    struct bundle *t = part->arg;
    (void)bytes;
    unsigned k = t->replies++;
    if (c->wire.reply_type != REDIS_REPLY_ERROR) {
        bool odd =
            c->wire.reply_type != REDIS_REPLY_STATUS || strcmp(c->wire.err, k == 0 ? "OK" : "QUEUED") != 0;
        if (odd && k > 0 && t->cmd[k - 1] >= 0)
            t->e[t->cmd[k - 1]].odd = true;
        if (odd)
            conn_lose(c, "unexpected reply %s", k == 0 ? "to MULTI" : "within MULTI");
        return false;
    }
    if (k == 0) { /* what stands behind it is no transaction */
        writer_fail(c->w, EXIT_CANNOT, "event=multi_refused node=%s reply=%s", cnode_name(c->node),
                    log_quote(c->wire.err, c->wire.errlen));
        c->w->cluster->dead = true;
        return false;
    }
    int32_t cmd = t->cmd[k - 1];
    bool probe = cmd >= 0 && t->e[cmd].probe != 0;
    if (!probe &&
        error_class(c->wire.err, c->wire.errlen) == ERR_FATAL) /* it may be closed before EXEC is answered */
        refuses(c, c->wire.err, c->wire.errlen);
    note_fault(t, cmd, c->wire.err, c->wire.errlen); /* EXEC will refuse because of it */
    return false;
}

/* A request of --on-existing skip or fail found its key. */
static void is_there(struct writer *w, struct bundle *t, struct element *e)
{
    e->out = true;
    guard_reply(w, e->ticket, SPLIT_THERE);
    guard_there(w, &e->r, t->req.p + e->off, e->r.len);
}

/* The reply to an element inside EXEC's. */
static void on_result(struct conn *c, struct bundle *t, struct element *e, int type, long long number)
{
    if (type == REDIS_REPLY_NIL && e->ticket != TICKET_NONE) {
        is_there(c->w, t, e);
        return;
    }
    e->odd = !reply_fits(t->req.p + e->off, e->r.len, type);
    t->strange |= e->odd;
    if (type == REDIS_REPLY_INTEGER && e->probe != 0)
        probe_answer(c->w, e->probe, number);
}

static void on_element(struct conn *c, const struct cunit *u, int element, int type, const char *text,
                       size_t len, long long number)
{
    struct bundle *t = u->arg;
    if (element < 0 || (unsigned)element >= t->ncmd) {
        t->strange = true;
        return;
    }
    int32_t cmd = t->cmd[element];
    if (type == REDIS_REPLY_ERROR)
        note_fault(t, cmd, text, len);
    else if (cmd >= 0)
        on_result(c, t, &t->e[cmd], type, number);
    else
        t->strange |= type != (cmd == CMD_POSITION ? REDIS_REPLY_INTEGER : REDIS_REPLY_STATUS);
    if (cmd == CMD_POSITION && type == REDIS_REPLY_INTEGER)
        t->added = number;
}

/* A request of it as a unit of its own, for what is said about it. */
static struct cunit unit_of(const struct element *e)
{
    return (struct cunit){.time = e->r.time,
                          .mark = e->ticket,
                          .key = hashset_key(e->r.hash, e->r.db),
                          .db = e->r.db,
                          .len = e->r.len,
                          .flow = e->r.flow,
                          .slot = e->r.slot,
                          .vclass = e->vclass,
                          .keyarg = e->r.keyarg,
                          .flags = (uint8_t)(((e->r.flags & RF_LIVE) != 0 ? CF_LIVE : 0) |
                                             ((e->r.flags & RF_IDEMPOTENT) != 0 ? CF_IDEMPOTENT : 0) |
                                             ((e->r.flags & RF_MULTIKEY) != 0 ? CF_ALONE : 0) |
                                             (e->ticket != TICKET_NONE ? CF_GUARDED : 0) |
                                             ((e->r.flags & RF_FIRST) != 0 ? CF_FIRST : 0))};
}

static void element_error(struct writer *w, struct bundle *t, struct element *e, const char *text, size_t len)
{
    const uint8_t *bytes = t->req.p + e->off;
    struct cunit u = unit_of(e);
    if (e->probe != 0) {
        e->out = true;
        probe_refused(w, e->probe, text, len);
        return;
    }
    if (t->fn != NULL) {
        t->why_len = (unsigned)strlcpy(t->why, text, len + 1 < sizeof t->why ? len + 1 : sizeof t->why);
        t->why_len = t->why_len < sizeof t->why ? t->why_len : sizeof t->why - 1;
        e->out = true;
        return;
    }
    e->out = true;
    if (t->barrier) { /* it must not be repeated later */
        struct failure f = {
            .text = text, .len = len, .r = e->r, .request = bytes, .n = e->r.len, .gone = true};
        f.r.type = REC_REQUEST;
        writer_data_error(w, &f);
        return;
    }
    cluster_unit_error(w, &u, bytes, text, len);
}

/* Without its position nothing may go on. */
static void no_position(struct writer *w, const struct bundle *t, const char *text, size_t len)
{
    writer_fail(w, EXIT_CANNOT, "event=position_refused slot=%u reply=%s", t->slot, log_quote(text, len));
    w->cluster->dead = true;
}

/* What was said of one command. */
static void settle_fault(struct writer *w, struct bundle *t, int32_t cmd, const char *text, size_t len)
{
    if (cmd >= 0 && t->e[cmd].ticket != TICKET_NONE && error_class(text, len) == ERR_CONFLICT) {
        is_there(w, t, &t->e[cmd]);
        return;
    }
    if (cmd >= 0) {
        element_error(w, t, &t->e[cmd], text, len);
        return;
    }
    if (cmd == CMD_POSITION) {
        no_position(w, t, text, len);
        return;
    }
    writer_fail(w, EXIT_CANNOT, "event=select_failed target=%s reply=%s", w->opt.shown, log_quote(text, len));
    w->cluster->dead = true;
}

/* The next fault. False: there are no more. */
static bool next_fault(const struct bundle *t, size_t *at, struct fault *f, const char **text)
{
    if (*at + sizeof *f > t->faults.len)
        return false;
    memcpy(f, t->faults.p + *at, sizeof *f);
    *text = (const char *)t->faults.p + *at + sizeof *f;
    *at += sizeof *f + f->len;
    return true;
}

/* Requests were refused when they were queued. True: for good, all of them. Else text is what says otherwise.
 */
static bool queued_fault(const struct bundle *t, char text[256], size_t *len)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);) {
        bool probe = f.cmd >= 0 && t->e[f.cmd].probe != 0;
        enum err_class class = error_class(why, f.len);
        if (class == ERR_DATA || class == ERR_CONFLICT || (probe && probe_fails(why, f.len)))
            continue;
        memcpy(text, why, f.len);
        text[ *len = f.len] = '\0';
        return false;
    }
    return true;
}

/* They are not sent again. All are numbered as they were sent, and so were looked up before. */
static void take_out(struct writer *w, struct bundle *t)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);)
        settle_fault(w, t, f.cmd, why, f.len);
    t->faults.len = 0;
}

/* What EXEC said about single requests. */
static void carried_out(struct conn *c, struct bundle *t)
{
    c->w->stats.groups += !t->parts && t->n > 0 && !is_ours(t);
    /* All are numbered as they were sent: none may be taken out before all were looked up. */
    struct fault f;
    const char *text;
    for (size_t at = 0; next_fault(t, &at, &f, &text);) {
        bool probe = f.cmd >= 0 && t->e[f.cmd].probe != 0;
        /* Also rights that a script lacks: the position behind it is saved, so it has to be named. */
        settle_fault(c->w, t, f.cmd, text, f.len);
        if (!probe && error_class(text, f.len) == ERR_FATAL)
            refuses(c, text, f.len);
    }
    t->faults.len = 0;
    const struct store *store = c->w->cluster->bundles->store;
    if (t->saves && store != NULL)
        store->written(c, t->barrier ? 0 : t->fields, t->added);
    else if (t->saves)
        cluster_slot_written(c, t->slot, t->fields, t->added);
}

static void again(struct writer *w, const struct cunit *u, uint64_t due, struct cnode *ask)
{
    struct cunit v = *u;
    v.len = 0; /* the requests are in the bundle */
    v.plight = ((const struct bundle *)u->arg)->plight;
    cluster_displace(w, &v, (const uint8_t *)"", due, ask);
}

/* One of its requests was carried out. The others follow. */
static void stepped(struct conn *c, struct bundle *t)
{
    struct element *e = &t->e[t->step];
    struct cunit one = unit_of(e);
    if (!e->out && !e->own)
        cluster_count(c->w, &one);
    e->out = true;
    cluster_accepted(c);
    t->plight.lost = SUSPECT_AFTER; /* the next one goes alone, too */
    t->plight.alone = 0;
    t->doubt = false;
    t->token = c->w->exact.on ? exact_token(&c->w->exact) : 0;
}

/* Its first request is named for all of them. */
static const struct named *name_first(const struct bundle *t, struct named *what)
{
    unsigned first = first_left(t);
    if (first >= t->n)
        return NULL;
    const struct element *e = &t->e[first];
    *what = (struct named){t->req.p + e->off, e->r.len, e->r.keyarg, t->req.len};
    return what;
}

static void still_refused(struct writer *w, struct bundle *t, const char *text, size_t len)
{
    struct named what;
    plight_refused(w, &t->plight, name_first(t, &what), text, len);
}

/* As many are under way at a node as keep it busy, and no more: what comes meanwhile gathers, so that
 * transactions grow where the target, or we, cannot keep up. Whether they queue shows in the time they take
 * beside that of the fastest one; that is looked for anew from time to time, with few under way. */
static void pace(struct cnode *n, uint64_t now, uint64_t took, unsigned records)
{
    if (n->window == 0 || us_since(now, n->lately) > LATELY_US) {
        n->window = WINDOW_MIN;
        n->fastest = took;
        n->lately = now;
    }
    if (took < n->fastest)
        n->fastest = took;
    if (took > 2 * n->fastest + QUEUED_US)
        n->window -= n->window / 16;
    else
        n->window += records;
    if (n->window < WINDOW_MIN)
        n->window = WINDOW_MIN;
    if (n->window > WINDOW_MAX)
        n->window = WINDOW_MAX;
}

/* It is under way no more. */
static void back(struct bundle *t)
{
    if (t->node != NULL)
        t->node->under_way -= t->n;
    t->node = NULL;
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    (void)bytes;
    struct writer *w = c->w;
    struct bundle *t = u->arg;
    struct cnode *ask;
    uint64_t due;
    struct named what;
    char text[256];
    size_t len = c->wire.errlen;
    back(t);
    bool whole = c->wire.reply_type == REDIS_REPLY_ARRAY && c->wire.reply_elements == (int)t->ncmd;
    if (whole && !t->strange) {
        pace(c->node, c->wire.heard, us_since(c->wire.heard, t->sent_at), t->n);
        carried_out(c, t);
        if (t->step >= 0 && !c->lost && !w->cluster->dead) {
            stepped(c, t);
            again(w, u, 0, NULL);
            u->kind = CU_GONE;
        }
        return u->kind == CU_EXEC && !c->lost;
    }
    if (c->wire.reply_type != REDIS_REPLY_ERROR) {
        conn_lose(c, whole ? "unexpected reply to EXEC: a reply that its request cannot get"
                           : "unexpected reply to EXEC");
        return false;
    }
    memcpy(text, c->wire.err, len + 1);
    bool queued = error_is_execabort(c->wire.err, len) && error_class(c->wire.err, len) != ERR_RETRY &&
                  t->faults.len > 0;
    bool refused = queued && queued_fault(t, text, &len);
    if (!refused && cluster_detour(c, u->tries, name_first(t, &what), text, len, &due, &ask) != DETOUR_NONE) {
        still_refused(w, t, text, len);
        again(w, u, due, ask);
    } else if (w->cluster->dead) {
        bundle_finish(w, u, false);
    } else if (queued) {
        take_out(w, t);
        if (first_left(t) < t->n && !w->cluster->dead) {
            if (!t->parts)
                bundle_saves(w, t); /* a part of what may be repeated as a whole may not */
            again(w, u, 0, NULL);
        } else {
            bundle_finish(w, u, false);
        }
    } else {
        conn_lose(c, "unexpected reply to EXEC: %s", log_quote(text, len));
        return false;
    }
    u->kind = CU_GONE;
    return false;
}

/* ---- the connection was lost ---- */

/* What follows a step depends on its reply: one that comes to the same twice is repeated to hear it. */
static bool harmless_step(const struct bundle *t)
{
    static const char *const names[] = {"DEL", "RESTORE", "SADD", "SREM"};
    struct slice name;
    if (t->fn == NULL || !request_arg(t->req.p, t->e[0].r.len, 0, &name))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == name.n && memcmp(names[i], name.p, name.n) == 0)
            return true;
    return false;
}

/* A connection on which our own requests are lost again and again is no better than none. */
static void not_for_ever(const struct conn *c, const struct bundle *t)
{
    struct writer *w = c->w;
    if (w->failed || us_since(mono_us(), t->since) < (uint64_t)w->opt.reconnect_timeout * 1000000)
        return;
    writer_fail(w, EXIT_RETRY, "event=target_lost target=%s error=%s", w->opt.shown,
                log_quote(c->why, strlen(c->why)));
    w->cluster->dead = true;
}

static void on_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    struct bundle *t = u->arg;
    (void)bytes;
    if (how->begun && !how->answered && c->state == CONN_READY) {
        plight_lost(&t->plight, c);
        strlcpy(t->lost, c->why, sizeof t->lost);
    }
    back(t);
    if (is_ours(t))
        not_for_ever(c, t);
    t->doubt |= t->saves && how->sent && !harmless_step(t);
    again(c->w, u, 0, NULL);
}

/* It was executed, and its replies are lost. Returns how many of its requests have to be sent again: those
 * that only ask whether a key is there. */
static unsigned settle_elements(struct writer *w, struct bundle *t)
{
    unsigned left = 0;
    uint64_t now = now_us();
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        if (e->out)
            continue;
        if (e->odd) {
            element_error(w, t, e, ODD_REPLY, sizeof ODD_REPLY - 1);
            continue;
        }
        if (e->ticket >= TICKET_FIRST) {
            left++;
            continue;
        }
        if (e->ticket == TICKET_WHOLE && w->opt.on_existing == EXISTING_FAIL)
            guard_unsure(w, e->r.flow, t->req.p + e->off, e->r.len, e->r.keyarg);
        w->stats.uncertain += e->probe == 0 && !e->own;
        if (e->probe == 0 && !e->own && t->fn == NULL)
            cluster_count_at(w, (e->r.flags & RF_LIVE) != 0, e->vclass, e->r.time, now);
        e->out = true;
    }
    return left;
}

/* It had been carried out, and (with --wait) has reached the replicas. What its requests answered is lost. */
static void on_safe(struct conn *c, void *arg, bool ok)
{
    struct bundle *t = arg;
    struct cunit u = bundle_unit(t);
    if (!ok) {
        again(c->w, &u, 0, NULL);
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=replies_lost requests=%u applied=yes", t->step < 0 ? t->n : 1);
    if (c->w->cluster->bundles->store != NULL)
        c->w->cluster->bundles->store->written(c, t->fields, 0);
    if (t->step >= 0) {
        if (t->e[t->step].odd && !t->e[t->step].out)
            element_error(c->w, t, &t->e[t->step], ODD_REPLY, sizeof ODD_REPLY - 1);
        c->w->stats.uncertain += !t->e[t->step].out && !t->e[t->step].own;
        stepped(c, t);
        u = bundle_unit(t);
        again(c->w, &u, 0, NULL);
        return;
    }
    cluster_accepted(c);
    if (settle_elements(c->w, t) == 0) {
        bundle_finish(c->w, &u, true);
        return;
    }
    c->w->stats.retries++; /* the questions alone, with the same positions */
    t->doubt = false;
    again(c->w, &u, 0, NULL);
}

/* What stands in the slot: of earlier processes, and whether the bundle itself was carried out. */
static void on_learned(struct conn *c, void *arg, const redisReply *r)
{
    struct writer *w = c->w;
    struct bundle *t = arg;
    struct cunit u = bundle_unit(t);
    struct cnode *ask = NULL;
    uint64_t due = 0;
    if (r != NULL && r->type == REDIS_REPLY_ERROR &&
        cluster_detour(c, t->tries, NULL, r->str, r->len, &due, &ask) == DETOUR_NONE) {
        if (!w->cluster->dead)
            no_position(w, t, r->str, r->len);
        bundle_finish(w, &u, false);
        return;
    }
    if (r != NULL && r->type == REDIS_REPLY_ERROR)
        still_refused(w, t, r->str, r->len);
    if (r != NULL && r->type != REDIS_REPLY_ERROR && !reply_is_hash(r)) {
        conn_lose(c, "HGETALL: unexpected reply");
    } else if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        if (exact_learn(w, t->slot, r, t->doubt ? t->token : 0)) {
            cluster_safe(c, on_safe, t);
            return;
        }
        t->doubt = false;
    }
    again(w, &u, due, ask);
}

static void on_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c);
    bundle_finish(c->w, u, true);
}

static void on_fail(struct writer *w, const struct cunit *u, const uint8_t *bytes, const char *text,
                    size_t len)
{
    struct bundle *t = u->arg;
    (void)bytes;
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out)
            element_error(w, t, &t->e[i], text, len);
    bundle_finish(w, u, false);
}

static void on_drop(struct writer *w, const struct cunit *u)
{
    bundle_finish(w, u, false);
}

static const struct unit_calls requests = {.reply = on_queued}, end = {.reply = on_reply,
                                                                       .element = on_element,
                                                                       .confirmed = on_confirmed,
                                                                       .lost = on_lost,
                                                                       .size = bundle_size,
                                                                       .transmit = bundle_transmit,
                                                                       .drop = on_drop,
                                                                       .fail = on_fail};

/* ---- the end of one ---- */

static void step_finish(struct writer *w, struct bundle *t)
{
    bundle_fn *fn = t->fn;
    void *arg = t->arg;
    char why[sizeof t->why];
    size_t len = t->why_len;
    memcpy(why, t->why, sizeof why);
    bundle_retire(w->cluster->bundles, t);
    fn(w, arg, len > 0 ? why : NULL, len);
}

static void element_finish(struct writer *w, struct bundle *t, const struct element *e, uint64_t now)
{
    struct cluster *cl = w->cluster;
    bool live = (e->r.flags & RF_LIVE) != 0;
    if (e->holds)
        hashset_remove(t->parts ? &cl->keys : &t->keys, hashset_key(e->r.hash, e->r.db));
    if (e->own) {
        cl->own--;
        return;
    }
    cluster_passed(w, live, e->r.flow, e->mark);
    cl->exclusive &= cl->slots || cl->whole || (e->r.flags & RF_MULTIKEY) == 0;
    if (now > 0 && !e->out)
        guard_reply(w, e->ticket, SPLIT_OPEN);
    if (e->probe != 0)
        probe_done(w, e->probe);
    else if (now > 0 && !e->out && !cl->dead && t->barrier)
        w->stats.requests++;
    else if (now > 0 && !e->out && !cl->dead)
        cluster_count_at(w, live, e->vclass, e->r.time, now);
}

void bundle_finish(struct writer *w, const struct cunit *u, bool counted)
{
    struct cluster *cl = w->cluster;
    struct bundle *t = u->arg;
    cl->bundles->flying--;
    cl->bundles->parts -= t->parts;
    if (cl->bundles->whole == t)
        cl->bundles->whole = NULL;
    if (t->fn != NULL) {
        step_finish(w, t);
        return;
    }
    uint64_t now = counted ? now_us() : 0;
    if (!t->parts)
        cluster_leave_slot(cl, u->slot, (u->flags & CF_ALONE) != 0);
    for (unsigned i = 0; i < t->n; i++)
        element_finish(w, t, &t->e[i], now);
    if (cl->bundles->store != NULL)
        cl->bundles->store->finished(w, t);
    bundle_retire(cl->bundles, t);
}

void bundle_step(struct writer *w, const struct rec *r, unsigned slot, const struct exact_id *id,
                 const uint8_t *request, bundle_fn *fn, void *arg)
{
    struct bundles *b = w->cluster->bundles;
    struct bundle *t = bundle_new(b, slot);
    bundle_saves(w, t);
    t->fn = fn;
    t->arg = arg;
    bundle_add(t, r, request, 0)->id = *id;
    b->flying++;
    struct cunit u = bundle_unit(t);
    struct conn *c = cluster_conn(w->cluster, slot, bundle_size(&u));
    if (c != NULL)
        bundle_transmit(c, &u);
    else
        again(w, &u, 0, NULL);
}
