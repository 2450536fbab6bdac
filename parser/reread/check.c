#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "../command/command.h"
#include "ctl.h"
#include "log.h"
#include "meta.h"
#include "probed.h"
#include "reread.h"

#define WAITING_MAX                                                                                          \
    ((size_t)16 << 20) /* bytes of keys whose place has not come; dfreader asks for far less */

static const char detail[] = "the full sync has not brought it, and the target lacks it";

/* A key that waits, and its name behind it. */
struct waiting {
    uint64_t at;
    uint32_t db;
    uint32_t n;
};

/* ---- probes ---- */

/* What a probe is made of, and where it goes. */
struct prober {
    struct emit *e;
    struct origin *o;
    const struct filter *filter; /* NULL: every key as it is */
    struct buf *name;            /* scratch: what the target calls a key */
    struct rereads *rereads;     /* and the table of what was looked for; NULL: nothing is read again */
    uint64_t reached;            /* the position that it confirms */
    unsigned early; /* PROBED_EARLY if an earlier process may have been behind this place; else 0 */
};

static struct prober prober_of(struct sink *to)
{
    return (struct prober){
        .e = to->e,
        .o = &to->o,
        .filter = to->filter,
        .name = &to->checks.name,
        .rereads = to->rereads,
        .reached = sink_reached(to),
        .early = to->goes_on && to->next_lsn <= to->asked_from ? PROBED_EARLY : 0,
    };
}

/* Keys of which is known that they were not carried over need not be looked for: that was reported. */
static bool reported(const struct keyset *not_carried, uint32_t db, const struct slice *key)
{
    return keyset_has(not_carried, keyset_hash(db, key->p, key->n));
}

/* Is the key to be at the target? its name there, and its database. */
static bool wanted(const struct prober *p, uint32_t db, const struct slice *key, struct slice *name,
                   uint32_t *name_db)
{
    *name = *key;
    *name_db = db;
    if (p->filter != NULL) {
        p->name->len = 0;
        p->name->max = (size_t)1 << 20;
        if (!filter_passes(p->filter, key->p, key->n, 0, db) ||
            buf_room(p->name, key->n + filter_growth(p->filter)) == NULL)
            return false;
        *name = filter_name(p->filter, key->p, key->n, p->name);
        *name_db = filter_db(p->filter, db);
    }
    return (!p->e->target.cluster || *name_db == 0) && !reported(&p->e->not_carried, db, key) &&
           !reported(&p->e->not_carried, *name_db, name);
}

/* k NULL: nothing is asked. */
static void put(const struct prober *p, enum probe_kind kind, uint32_t db, const struct slice *about,
                const struct key *k, uint32_t name_db)
{
    struct origin *o = p->o;
    uint32_t was = o->db;
    bool live = o->live, fresh = o->fresh;
    uint64_t pos = o->pos;
    o->live = o->fresh = true;
    if (kind != PROBE_OWN) /* else it stands before an entry that is not written yet */
        o->pos = p->reached;
    o->db = name_db;
    emit_probe(p->e, o, kind, db, about, k);
    o->db = was;
    o->live = live;
    o->fresh = fresh;
    o->pos = pos;
}

/* about: what is to be read again when the key is missing. */
static void probe(const struct prober *p, enum probe_kind kind, uint32_t db, const struct slice *key,
                  const struct slice *about)
{
    struct slice name;
    struct key k;
    uint32_t name_db;
    bool asks = wanted(p, db, key, &name, &name_db);
    if (asks)
        key_set(p->e, &k, name.p, name.n);
    put(p, kind, db, about, asks ? &k : NULL, asks ? name_db : 0);
}

void check_again(struct sink *to, const struct rekey *k)
{
    struct slice s = {k->key, k->n};
    const struct prober p = prober_of(to);
    if (k->passing && to->verifying == VERIFYING_CLOSES) /* it is as the source has it, or was reported */
        probed_drop(to->rereads, k->db, &s);
    probed_forget(to->rereads, k->db, &s);
    for (unsigned i = 0; i < k->checks; i++)
        probe(&p, PROBE_AGAIN, k->db, &s, &s);
    for (unsigned i = 0; i < k->own; i++)
        probe(&p, PROBE_LATER, k->db, &s, &s);
}

/* ---- keys that wait for their place ---- */

static bool first_waiting(const struct checks *c, struct waiting *w, struct slice *key)
{
    if (c->at >= c->waiting.len)
        return false;
    memcpy(w, c->waiting.p + c->at, sizeof *w);
    *key = (struct slice){c->waiting.p + c->at + sizeof *w, w->n};
    return true;
}

static void waiting_changed(struct sink *to)
{
    struct waiting w;
    struct slice key;
    to->checks.due = first_waiting(&to->checks, &w, &key) ? w.at : UINT64_MAX;
    rekeys_changed(to);
}

void check_write_due(struct sink *to)
{
    struct waiting w;
    struct slice key;
    struct checks *c = &to->checks;
    const struct prober p = prober_of(to);
    while (first_waiting(c, &w, &key) && w.at <= to->next_lsn) {
        if (to->rereads->writer && probed_told(to->rereads, w.db, &key))
            put(&p, PROBE_KEY, w.db, &key, NULL, 0);
        else
            probe(&p, PROBE_KEY, w.db, &key, &key);
        c->at += sizeof w + w.n;
        to->rereads->checks--;
    }
    if (c->at >= c->waiting.len)
        c->waiting.len = c->at = 0;
    if (c->waiting.len == 0)
        buf_trim(&c->waiting, (size_t)64 << 10);
    waiting_changed(to);
}

static const char *wait_in(struct checks *c, const struct waiting *w, const char *key)
{
    if (c->at > WAITING_MAX / 2) {
        buf_shift(&c->waiting, c->at);
        c->at = 0;
    }
    c->waiting.max = WAITING_MAX;
    if (buf_add(&c->waiting, w, sizeof *w) < 0 || buf_add(&c->waiting, key, w->n) < 0)
        return "CHECK records of too many keys at a time";
    return NULL;
}

/* ---- records ---- */

static void again(struct sink *to, uint32_t db, const char *key, size_t n, bool own)
{
    struct slice s = {(const uint8_t *)key, n};
    if (reread_check(to, db, &s, detail, own))
        return;
    if (to->filter == NULL || filter_passes(to->filter, s.p, s.n, 0, db))
        emit_report(to->e, &to->o, true, "verify", s.p, s.n,
                    "missing at the target, and it cannot be read again");
    probed_forget(to->rereads, db, &s);
    const struct prober p = prober_of(to);
    probe(&p, own ? PROBE_LATER : PROBE_AGAIN, db, &s, &s);
}

/* All keys were looked for: only those that commands had to do without on their way here may be missing now,
 * and the reader wants to know that all of these were told. The second time no more of them are looked for:
 * what the reader is told behind this would come too late. */
static enum verifying soon_ends(const struct prober *p, enum verifying state)
{
    put(p, PROBE_KEY, 0, &(struct slice){NULL, 0}, NULL, 0);
    return state == VERIFYING ? VERIFYING_ENDS : state == VERIFYING_ENDS ? VERIFYING_CLOSES : state;
}

static void set_verifying(struct sink *to, enum verifying state)
{
    to->verifying = state;
    to->e->verifying = state != NOT_VERIFYING;
}

static void put_mark(const struct prober *p, enum probe_kind kind, bool synced)
{
    struct slice none = {NULL, 0};
    struct origin *o = p->o;
    bool fresh = o->fresh;
    uint64_t pos = o->pos;
    if (synced) {
        o->pos = p->reached;
        o->fresh = true;
    }
    emit_probe(p->e, o, kind, 0, &none, NULL);
    o->fresh = fresh;
    o->pos = pos;
}

static void verified(struct sink *to)
{
    const struct prober p = prober_of(to);
    set_verifying(to, NOT_VERIFYING);
    put_mark(&p, PROBE_DONE, to->synced);
}

static void begins(struct sink *to)
{
    to->unsettled = false;
    set_verifying(to, to->rereads != NULL ? VERIFYING : NOT_VERIFYING);
    if (to->rereads != NULL)
        probed_reset(to->rereads);
    else if (to->o.flow == 0)
        log_event(LOG_WARN, NO_FLOW,
                  "event=not_verified note=\"--no-reread: what the target lacks stays missing\"");
    const struct prober p = prober_of(to);
    put_mark(&p, PROBE_BEGIN, to->synced);
}

/* The flow is verified. A run that does not know of that reads keys again that this one does not: so it may
 * not resume in front of what made them be read, without the flow being verified. */
static void ends(struct sink *to)
{
    if (to->rereads != NULL && to->counting) {
        to->rereads->checks += to->ends_at == 0;
        to->ends_at = to->next_lsn;
        check_end_due(to);
        return;
    }
    verified(to);
}

void check_end_due(struct sink *to)
{
    if (to->ends_at == 0 || reread_before(to->rereads, to->o.flow, to->ends_at))
        return;
    to->ends_at = 0;
    to->rereads->checks--;
    if (to->unsettled) {
        log_event(LOG_WARN, to->o.flow,
                  "event=not_verified note=\"more keys were to be read again at its end than can be at a "
                  "time: a run that resumes verifies once more\"");
        return;
    }
    verified(to);
}

void check_end_later(struct sink *to)
{
    if (to->ends_at != 0)
        to->ends_at = to->next_lsn;
}

/* The lines "key=…" behind the head. */
static const char *keys(struct sink *to, const char *text, size_t n, bool once_more)
{
    char key[CTL_LINE_MAX];
    uint64_t db, at = 0, own = 0;
    const char *fault = NULL, *end = text + n;
    if (!to->synced) /* a PROBE between the parts of a key would find and confirm what is not whole */
        return "a CHECK record of keys before the end of the full sync";
    if (!meta_getu(text, n, "db", &db) || db > UINT32_MAX || (!once_more && !meta_getu(text, n, "at", &at)))
        return "a CHECK record without db or at";
    (void)meta_getu(text, n, "own", &own);
    for (const char *p = text, *nl; p < end && fault == NULL; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            return "a CHECK record whose last line is cut";
        if (nl - p < 4 || memcmp(p, "key=", 4) != 0)
            continue;
        long len = meta_get(p, (size_t)(nl - p) + 1, "key", key, sizeof key);
        if (len < 0)
            return "a CHECK record with a name that is too long";
        if (to->rereads == NULL) { /* nothing could be done about it */
            const struct prober pr = prober_of(to);
            put(&pr,
                !once_more ? PROBE_KEY
                : own      ? PROBE_LATER
                           : PROBE_AGAIN,
                (uint32_t)db, &(struct slice){NULL, 0}, NULL, 0);
        } else if (once_more) {
            again(to, (uint32_t)db, key, (size_t)len, own != 0);
        } else {
            if (at < to->asked_from) /* whatever was done at the target before is in front of that */
                to->asked_from = at;
            fault = wait_in(&to->checks, &(struct waiting){at, (uint32_t)db, (uint32_t)len}, key);
            to->rereads->checks += fault == NULL;
        }
    }
    if (to->checks.due == UINT64_MAX && to->rereads != NULL)
        waiting_changed(to);
    return fault;
}

const char *check_record(struct sink *to, const uint8_t *payload, size_t n)
{
    const char *text = (const char *)payload, *fault = NULL;
    char state[16];
    const struct prober p = prober_of(to);
    if (meta_get(text, n, "state", state, sizeof state) < 0)
        return "a CHECK record without state";
    if (strcmp(state, "begin") == 0)
        begins(to);
    else if (strcmp(state, "done") == 0)
        ends(to);
    else if (strcmp(state, "ends") == 0)
        to->verifying = soon_ends(&p, to->verifying);
    else if (strcmp(state, "failed") == 0)
        set_verifying(to, NOT_VERIFYING);
    else if (strcmp(state, "key") == 0 || strcmp(state, "again") == 0)
        fault = keys(to, text, n, state[0] == 'a');
    else
        fault = "a CHECK record with an unknown state";
    return fault;
}

/* ---- commands that only add to a string ---- */

#define UNPACK_MAX 7000u /* arguments; Lua's stack has room for 8,000 */

/* command, what it needs, the argument that is asked for (0: all keys), that which is read again when it is
 * missing (0: the same). */
static const struct adding {
    const char *name;
    enum guard guard;
    unsigned char asked, about;
} adding[] = {
    {"APPEND", GUARD_KEY, 1, 0},  {"BITFIELD", GUARD_KEY, 1, 0},   {"BITOP", GUARD_REREAD, 0, 2},
    {"COPY", GUARD_SOURCE, 1, 2}, {"DECR", GUARD_KEY, 1, 0},       {"DECRBY", GUARD_KEY, 1, 0},
    {"INCR", GUARD_KEY, 1, 0},    {"INCRBY", GUARD_KEY, 1, 0},     {"MOVE", GUARD_REREAD, 1, 0},
    {"PFADD", GUARD_KEY, 1, 0},   {"PFMERGE", GUARD_REREAD, 0, 1}, {"INCRBYFLOAT", GUARD_KEY, 1, 0},
    {"PREPEND", GUARD_KEY, 1, 0}, {"RENAME", GUARD_SOURCE, 1, 2},  {"RENAMENX", GUARD_REREAD, 1, 2},
    {"SET", GUARD_KEY, 1, 0},     {"SETBIT", GUARD_KEY, 1, 0},     {"SETRANGE", GUARD_KEY, 1, 0},
};

/* SET takes nothing over from what is there, but with KEEPTTL. */
static bool keeps_something(const struct slice *argv, size_t argc)
{
    for (size_t i = 3; i < argc; i++)
        if (arg_is(&argv[i], "KEEPTTL"))
            return true;
    return !arg_is(&argv[0], "SET");
}

/* Whatever else a command does with its keys. */
static void forget_all(struct rereads *r, const struct change *ch, const struct keys *k)
{
    for (size_t i = keys_next(k, 0); i != 0 && i < ch->argc; i = keys_next(k, i))
        probed_forget(r, ch->db, &ch->argv[i]);
}

/* Can the key be told to be missing, and be read again? */
static bool can_be_told(const struct prober *p, uint32_t db, const struct slice *key)
{
    struct slice name;
    uint32_t name_db;
    return rekey_name_fits(key) && wanted(p, db, key, &name, &name_db);
}

/* Its condition is told to the target only where a writer says what is missing then. */
static enum guard guard_of(const struct prober *p, const struct adding *a, const struct change *ch)
{
    const struct slice *v = ch->argv;
    const struct command *c = command_find(v[0].p, v[0].n);
    if (!p->rereads->writer || ch->argc > UNPACK_MAX || ch->argc < 2 || ch->argc <= a->about)
        return GUARD_NONE;
    if (a->guard == GUARD_REREAD || command_other_db(c, v, ch->argc) != 0)
        return GUARD_REREAD;
    return can_be_told(p, ch->db, &v[a->about > 0 ? a->about : 1]) ? a->guard : GUARD_NONE;
}

/* NULL: it takes nothing over from what is there. */
static const struct adding *adding_find(const struct command *c, const struct slice *argv, size_t argc)
{
    const struct adding *a = adding, *end = adding + sizeof adding / sizeof *adding;
    while (a < end && strcmp(a->name, c->name) != 0)
        a++;
    return a < end && keeps_something(argv, argc) ? a : NULL;
}

/* Have the keys looked for that it takes in. always: however often that was done; else once as long as
 * nothing else is done with the key, and as far as the table reaches. */
static void look_for(const struct prober *p, const struct adding *a, const struct change *ch,
                     const struct keys *k, bool always)
{
    const struct slice *src = ch->argv;
    for (size_t i = keys_next(k, 0); i != 0; i = keys_next(k, i)) {
        const struct slice *about = a->about > 0 ? &src[a->about] : &src[i];
        if ((a->asked == 0 || a->asked == i) && (a->about != i || a->asked != 0) && a->about < ch->argc &&
            (always || !probed_put(p->rereads, ch->db, &src[i], p->early)))
            probe(p, PROBE_OWN, ch->db, &src[i], about);
    }
}

/* Read it again, whether it is missing or not. */
static bool read_anyway(struct sink *to, const struct change *ch, const struct slice *key)
{
    return rekey_find(to->rereads, to->o.flow, ch->db, key->p, key->n) != NULL ||
           reread_want(to, ch->lsn, ch->db, key, REREAD_VERIFY, "it may be missing at the target");
}

enum guard check_before(struct sink *to, const struct change *ch, const struct command *c,
                        const struct slice *argv)
{
    const struct adding *a = adding_find(c, argv, ch->argc);
    struct keys k = command_keys(c, argv, ch->argc);
    bool ends = to->verifying >= VERIFYING_ENDS, closes = to->verifying == VERIFYING_CLOSES;
    if (c->action == ACT_FLUSH)
        probed_reset(to->rereads);
    if (to->verifying == VERIFYING && (a == NULL || a->guard != GUARD_KEY))
        forget_all(to->rereads, ch, &k);
    if (a == NULL)
        return GUARD_NONE;
    const struct prober p = prober_of(to);
    enum guard guard = guard_of(&p, a, ch);
    if ((guard == GUARD_KEY ? ends : guard == GUARD_SOURCE && closes) &&
        !probed_has(to->rereads, ch->db, &ch->argv[1]))
        return GUARD_NONE;
    if (guard == GUARD_REREAD) {
        check_end_later(to);
    } else if (guard != GUARD_NONE && closes) {
        if (read_anyway(to, ch, &ch->argv[a->about > 0 ? a->about : 1]))
            return guard;
        to->unsettled = true;
    }
    /* What it makes may be told to be missing, too; what it reads is not. */
    if (guard == GUARD_SOURCE)
        (void)probed_put(to->rereads, ch->db, &ch->argv[a->about], PROBED_FORGOTTEN | p.early);
    if (guard != GUARD_REREAD)
        look_for(&p, a, ch, &k, ends || guard == GUARD_SOURCE);
    return guard;
}

void check_unread(struct sink *to, const struct change *ch, const struct command *c, const struct slice *argv)
{
    const struct adding *a = adding_find(c, argv, ch->argc);
    struct keys k = command_keys(c, argv, ch->argc);
    const struct prober p = prober_of(to);
    to->unsettled |= to->verifying == VERIFYING_CLOSES;
    if (a != NULL)
        look_for(&p, a, ch, &k, true);
}
