#include "sweep.h"

#include <errno.h>
#include <string.h>

#include "../engine/collect.h"
#include "crc64.h"
#include "exits.h"
#include "log.h"
#include "program.h"
#include "../engine/request.h"
#include "resp.h"
#include "slot.h"
#include "target.h"
#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../summary.h"
#include "cluster.h"

#define LOOK_MS    5                  /* where a connection or a slot is waited for */
#define KEYS_BYTES ((size_t)32 << 20) /* a record's keys at most, or one that a scan has found */

static void sweep_fails(struct sweep *s, const char *what)
{
    outcome_fail(s->outcome, EXIT_CANNOT, "event=sweep_failed step=%s error=%s", what,
                 log_quote(strerror(errno), strlen(strerror(errno))));
}

bool sweep_begin(struct sweep *s)
{
    unsigned asked = s->asked; /* their replies are still to come */
    sweep_free(s);
    s->asked = asked;
    if (seen_open(&s->seen, s->opt->spill_dir) < 0) {
        sweep_fails(s, "file");
        return false;
    }
    s->keys.max = KEYS_BYTES;
    s->del.max = s->going.max = 2 * KEYS_BYTES;
    s->state = SWEEP_MARKS;
    return true;
}

void sweep_deletes(struct sweep *s, bool on)
{
    if (on && !s->deleting)
        s->cl->errands++;
    else if (!on && s->deleting)
        s->cl->errands--;
    s->deleting = on;
}

void sweep_free(struct sweep *s)
{
    sweep_deletes(s, false);
    seen_close(&s->seen);
    buf_free(&s->keys);
    buf_free(&s->hash);
    buf_free(&s->del);
    buf_free(&s->todo);
    buf_free(&s->going);
    *s = (struct sweep){.opt = s->opt,
                        .outcome = s->outcome,
                        .stats = s->stats,
                        .session = s->session,
                        .positions = s->positions,
                        .cl = s->cl,
                        .whole = s->whole};
}

bool sweep_runs(const struct sweep *s)
{
    if (s->outcome->stopped && s->waits) /* for others, and who knows how long */
        return false;
    return s->state == SWEEP_SCANS ||
           (s->state == SWEEP_MARKS && s->session->stage == ST_RUN && positions_all_synced(s->positions));
}

int sweep_timeout(const struct sweep *s, uint64_t now)
{
    if (!sweep_runs(s))
        return -1;
    if (s->next > now)
        return (int)((s->next - now) / 1000) + 1;
    return LOOK_MS;
}

void sweep_done(struct sweep *s)
{
    log_event(LOG_WARN, NO_FLOW, "event=sweep_done scanned=%llu removed=%llu cleared=%llu",
              (unsigned long long)s->scanned, (unsigned long long)s->removed, (unsigned long long)s->cleared);
    s->stats->swept += s->removed;
    sweep_free(s);
}

/* ---- keys that come ---- */

static void add(struct sweep *s, uint64_t h)
{
    if (!s->outcome->failed && seen_add(&s->seen, h) < 0)
        sweep_fails(s, "table");
}

static bool has(struct sweep *s, uint64_t h)
{
    int got = seen_has(&s->seen, h);
    if (got < 0 && !s->outcome->failed)
        sweep_fails(s, "table");
    return got != 0; /* when in doubt it stays */
}

bool sweep_saw(struct sweep *s, uint32_t db, const void *key, size_t n)
{
    return has(s, seen_hash(db, key, n));
}

void sweep_gather(struct sweep *s, const void *key, size_t n)
{
    if (resp_add_bulk(&s->keys, key, n) == 0)
        s->n++;
    else
        log_event(LOG_WARN, NO_FLOW, "event=stale_key_left bytes=%zu note=\"its name is too long\"", n);
}

/* A request being looked at. */
struct look {
    struct sweep *all;
    uint32_t db;
    unsigned only; /* the argument that is its key; 0: which ones are only dfparse knows */
    uint16_t slot; /* where they are; REC_NO_SLOT: anywhere */
};

static void look_at(void *ctx, unsigned at, const struct slice *arg, uint64_t crc)
{
    const struct look *k = ctx;
    struct sweep *s = k->all;
    uint64_t h = seen_hash_crc(k->db, crc);
    if (at == 0 || (k->only != 0 && at != k->only) || has(s, h))
        return;
    if (arg->p != NULL && (key_is_ours(arg->p, arg->n) ||
                           (k->only == 0 && k->slot < SLOTS && key_slot(arg->p, arg->n) != k->slot)))
        return;
    (void)buf_add(&s->hash, &h, sizeof h);
    if (arg->p != NULL)
        sweep_gather(s, arg->p, arg->n);
}

static struct look look_begin(struct sweep *s, const struct rec *r)
{
    s->n = 0;
    s->keys.len = s->hash.len = 0;
    return (struct look){.all = s,
                         .db = r->db,
                         .only = (r->flags & RF_MULTIKEY) != 0 ? 0 : r->keyarg,
                         .slot = s->cl->nodes.slots ? r->slot : REC_NO_SLOT};
}

/* Nothing has to be done for it. */
static bool needless(const struct sweep *s, const struct rec *r)
{
    return s->state == SWEEP_OFF || s->phase == SWEEP_ENDS ||
           (r->keyarg == 0 && (r->flags & RF_MULTIKEY) == 0) || (s->cl->nodes.slots && r->slot >= SLOTS);
}

void sweep_make_del(struct sweep *s)
{
    s->del.len = 0;
    (void)resp_add_array(&s->del, s->n + 1); /* within its bound: so are the keys */
    (void)resp_add_str(&s->del, "DEL");
    (void)buf_add(&s->del, s->keys.p, s->keys.len);
}

/* What was looked at and not seen is removed, and so counts as seen from now on. r: what follows. */
static enum put clear(struct sweep *s, const struct rec *r, uint32_t behind)
{
    if (s->outcome->failed)
        return PUT_WAIT;
    if (s->n > 0) {
        sweep_make_del(s);
        struct rec d = {.type = REC_REQUEST,
                        .flags = (uint16_t)(RF_IDEMPOTENT | (r->flags & RF_MULTIKEY)),
                        .flow = r->flow,
                        .slot = r->slot,
                        .keyarg = 1,
                        .db = r->db,
                        .hash = r->hash,
                        .len = (uint32_t)s->del.len};
        if (cluster_put_own(s->cl, &d, s->del.p, behind) == PUT_WAIT)
            return PUT_WAIT; /* PUT_FAIL: no such database, which will be said of the request itself */
        s->cleared += s->n;
    }
    for (size_t at = 0; at < s->hash.len; at += sizeof(uint64_t)) {
        uint64_t h;
        memcpy(&h, s->hash.p + at, sizeof h);
        add(s, h);
    }
    return PUT_DONE;
}

static void look_at_whole(struct look *k, const uint8_t *payload, size_t n)
{
    struct args fresh = {0};
    struct slice key;
    if (k->only == 0)
        args_walk(&fresh, payload, n, look_at, k, false);
    else if (request_arg(payload, n, k->only, &key))
        look_at(k, k->only, &key, crc64(SEEN_CRC, key.p, key.n));
}

enum put sweep_before(struct sweep *s, const struct rec *r, const uint8_t *payload)
{
    if (needless(s, r))
        return PUT_DONE;
    struct look k = look_begin(s, r);
    look_at_whole(&k, payload, r->len);
    return clear(s, r, r->len);
}

static void pass_by(void *ctx, unsigned at, const struct slice *arg, uint64_t crc)
{
    (void)ctx;
    (void)at;
    (void)arg;
    (void)crc;
}

enum put sweep_before_part(struct sweep *s, struct big *big, const struct rec *r, const uint8_t *payload)
{
    struct rec first = big->first;
    if (needless(s, &first))
        return PUT_DONE;
    struct look k = look_begin(s, &first);
    if (k.only != 0 && big->args.at > k.only)
        return PUT_DONE;
    args_walk(&big->args, payload, r->len, look_at, &k, false);
    if ((first.flags & RF_LIVE) == 0)
        s->n = 0; /* written over, whatever is there */
    enum put got = clear(s, &first, 0);
    if (got == PUT_DONE)
        args_walk(&big->args, payload, r->len, pass_by, NULL, true);
    return got;
}

enum put sweep_before_program(struct sweep *s, const struct rec *r, const uint8_t *payload)
{
    struct step step;
    if (s->state == SWEEP_OFF || s->phase == SWEEP_ENDS)
        return PUT_DONE;
    for (size_t at = 0; program_next(payload, r->len, &at, &step);) {
        struct rec in_step = *r;
        struct slice arg;
        unsigned reg, i = 0;
        in_step.slot = step.slot;
        in_step.flags |= RF_MULTIKEY;
        struct look k = look_begin(s, &in_step);
        for (size_t arg_at = 0; program_arg(&step, &arg_at, &arg, &reg); i++)
            if (reg == 0)
                look_at(&k, i, &arg, crc64(SEEN_CRC, arg.p, arg.n));
        enum put got = clear(s, &in_step, 0);
        if (got != PUT_DONE)
            return got;
    }
    return PUT_DONE;
}

void sweep_note(struct sweep *s, const struct rec *r, const uint8_t *payload)
{
    struct slice key;
    if (s->state != SWEEP_OFF && (r->flags & (RF_LIVE | RF_MULTIKEY)) == 0 && r->keyarg > 0 &&
        request_arg(payload, r->len, r->keyarg, &key))
        add(s, seen_hash(r->db, key.p, key.n));
}
