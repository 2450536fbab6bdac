#include "check.h"

#include <string.h>

#include "command_parts.h"
#include "ctl.h"
#include "log.h"
#include "meta.h"
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

/* Keys of which is known that they were not carried over need not be looked for: that was reported. */
static bool reported(const struct emit *e, uint32_t db, const struct slice *key)
{
    return keyset_has(&e->not_carried, keyset_hash(db, key->p, key->n));
}

/* Is the key to be at the target? its name there, and its database. */
static bool wanted(struct flow *f, const struct emit *e, uint32_t db, const struct slice *key,
                   struct slice *name, uint32_t *to)
{
    struct buf *b = &f->check_name;
    *name = *key;
    *to = db;
    if (f->sel != NULL) {
        b->len = 0;
        b->max = (size_t)1 << 20;
        if (!select_passes(f->sel, key->p, key->n, 0, db) ||
            buf_room(b, key->n + select_growth(f->sel)) == NULL)
            return false;
        *name = select_name(f->sel, key->p, key->n, b);
        *to = select_db(f->sel, db);
    }
    return (!e->target.cluster || *to == 0) && !reported(e, db, key) && !reported(e, *to, name);
}

/* k NULL: nothing is asked. */
static void put(struct flow *f, struct emit *e, enum probe_kind kind, uint32_t db, const struct slice *about,
                const struct key *k, uint32_t to)
{
    uint32_t was = f->o.db;
    bool live = f->o.live, fresh = f->o.fresh;
    uint64_t pos = f->o.pos;
    f->o.live = f->o.fresh = true;
    if (kind != PROBE_OWN) /* else it stands before an entry that is not written yet */
        f->o.pos = journal_reached(f);
    f->o.db = to;
    emit_probe(e, &f->o, kind, db, about, k);
    f->o.db = was;
    f->o.live = live;
    f->o.fresh = fresh;
    f->o.pos = pos;
}

/* about: what is to be read again when the key is missing. */
static void probe(struct flow *f, struct emit *e, enum probe_kind kind, uint32_t db, const struct slice *key,
                  const struct slice *about)
{
    struct slice name;
    struct key k;
    uint32_t to;
    bool asks = wanted(f, e, db, key, &name, &to);
    if (asks)
        key_set(e, &k, name.p, name.n);
    put(f, e, kind, db, about, asks ? &k : NULL, asks ? to : 0);
}

void check_again(struct flow *f, struct emit *e, uint32_t db, const uint8_t *key, size_t n, unsigned times)
{
    struct slice s = {key, n};
    for (; times > 0; times--)
        probe(f, e, PROBE_AGAIN, db, &s, &s);
}

/* ---- keys that wait for their place ---- */

static bool first_waiting(const struct flow *f, struct waiting *w, struct slice *key)
{
    if (f->checks_at >= f->checks.len)
        return false;
    memcpy(w, f->checks.p + f->checks_at, sizeof *w);
    *key = (struct slice){f->checks.p + f->checks_at + sizeof *w, w->n};
    return true;
}

static void waiting_changed(struct flow *f)
{
    struct waiting w;
    struct slice key;
    f->check_due = first_waiting(f, &w, &key) ? w.at : UINT64_MAX;
    rekeys_changed(f);
}

void check_write_due(struct flow *f, struct emit *e)
{
    struct waiting w;
    struct slice key;
    while (first_waiting(f, &w, &key) && w.at <= f->next_lsn) {
        probe(f, e, PROBE_KEY, w.db, &key, &key);
        f->checks_at += sizeof w + w.n;
        f->rereads->checks--;
    }
    if (f->checks_at >= f->checks.len)
        f->checks.len = f->checks_at = 0;
    if (f->checks.len == 0)
        buf_trim(&f->checks, (size_t)64 << 10);
    waiting_changed(f);
}

static const char *wait_for(struct flow *f, uint64_t at, uint32_t db, const char *key, size_t n)
{
    struct waiting w = {.at = at, .db = db, .n = (uint32_t)n};
    if (f->checks_at > WAITING_MAX / 2) {
        buf_shift(&f->checks, f->checks_at);
        f->checks_at = 0;
    }
    f->checks.max = WAITING_MAX;
    if (buf_add(&f->checks, &w, sizeof w) < 0 || buf_add(&f->checks, key, n) < 0)
        return "CHECK records of too many keys at a time";
    f->rereads->checks++;
    if (f->check_due == UINT64_MAX)
        waiting_changed(f);
    return NULL;
}

/* ---- records ---- */

static void again(struct flow *f, struct emit *e, uint32_t db, const char *key, size_t n)
{
    struct slice s = {(const uint8_t *)key, n};
    if (reread_check(f, db, &s, detail))
        return;
    if (f->sel == NULL || select_passes(f->sel, s.p, s.n, 0, db))
        emit_report(e, &f->o, true, "verify", s.p, s.n, "missing at the target, and it cannot be read again");
    check_again(f, e, db, s.p, s.n, 1);
}

static void begin_or_end(struct flow *f, struct emit *e, bool begins)
{
    struct slice none = {NULL, 0};
    f->verifying = begins && f->rereads != NULL;
    if (f->rereads != NULL)
        memset(f->rereads->probed, 0, sizeof f->rereads->probed);
    else if (begins && f->o.flow == 0)
        log_event(LOG_WARN, NO_FLOW,
                  "event=not-verified note=\"--no-reread: what the target lacks stays missing\"");
    e->not_carried.on = begins;
    bool fresh = f->o.fresh;
    uint64_t pos = f->o.pos;
    if (f->synced) {
        f->o.pos = journal_reached(f);
        f->o.fresh = true;
    }
    emit_probe(e, &f->o, begins ? PROBE_BEGIN : PROBE_DONE, 0, &none, NULL);
    f->o.fresh = fresh;
    f->o.pos = pos;
}

/* The lines "key=…" behind the head. */
static const char *keys(struct flow *f, struct emit *e, const char *text, size_t n, bool once_more)
{
    char key[CTL_LINE_MAX];
    uint64_t db, at = 0;
    const char *fault = NULL, *end = text + n;
    if (!f->synced) /* a PROBE between the parts of a key would find and confirm what is not whole */
        return "a CHECK record of keys before the end of the full sync";
    if (!meta_getu(text, n, "db", &db) || db > UINT32_MAX || (!once_more && !meta_getu(text, n, "at", &at)))
        return "a CHECK record without db or at";
    for (const char *p = text, *nl; p < end && fault == NULL; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            return "a CHECK record whose last line is cut";
        if (nl - p < 4 || memcmp(p, "key=", 4) != 0)
            continue;
        long len = meta_get(p, (size_t)(nl - p) + 1, "key", key, sizeof key);
        if (len < 0)
            return "a CHECK record with a name that is too long";
        if (f->rereads == NULL) /* nothing could be done about it */
            put(f, e, once_more ? PROBE_AGAIN : PROBE_KEY, (uint32_t)db, &(struct slice){NULL, 0}, NULL, 0);
        else if (once_more)
            again(f, e, (uint32_t)db, key, (size_t)len);
        else
            fault = wait_for(f, at, (uint32_t)db, key, (size_t)len);
    }
    return fault;
}

const char *check_record(struct flow *f, struct emit *e, const uint8_t *payload, size_t n)
{
    const char *text = (const char *)payload, *fault = NULL;
    char state[16];
    if (meta_get(text, n, "state", state, sizeof state) < 0)
        return "a CHECK record without state";
    if (strcmp(state, "begin") == 0 || strcmp(state, "done") == 0)
        begin_or_end(f, e, state[0] == 'b');
    else if (strcmp(state, "key") == 0 || strcmp(state, "again") == 0)
        fault = keys(f, e, text, n, state[0] == 'a');
    else
        fault = "a CHECK record with an unknown state";
    return fault;
}

/* ---- commands that only add to a string ---- */

/* command, the argument that is asked for (0: all keys), that which is read again when it is missing (0: the
 * same). */
static const struct adding {
    const char *name;
    unsigned char asked, about;
} adding[] = {
    {"APPEND", 1, 0},      {"BITFIELD", 1, 0}, {"BITOP", 0, 2},  {"COPY", 1, 2},     {"DECR", 1, 0},
    {"DECRBY", 1, 0},      {"INCR", 1, 0},     {"INCRBY", 1, 0}, {"PFADD", 1, 0},    {"PFMERGE", 0, 1},
    {"INCRBYFLOAT", 1, 0}, {"PREPEND", 1, 0},  {"RENAME", 1, 2}, {"RENAMENX", 1, 2}, {"SET", 1, 0},
    {"SETBIT", 1, 0},      {"SETRANGE", 1, 0},
};

/* SET takes nothing over from what is there, but with KEEPTTL. */
static bool keeps_something(const struct slice *argv, size_t argc)
{
    for (size_t i = 3; i < argc; i++)
        if (arg_is(&argv[i], "KEEPTTL"))
            return true;
    return !arg_is(&argv[0], "SET");
}

/* Once for each key, as far as the table reaches. */
static bool first_time(struct flow *f, const struct slice *key)
{
    uint64_t h = keyset_hash(f->src_db, key->p, key->n);
    uint64_t *slot = &f->rereads->probed[h % REREAD_PROBED];
    if (*slot == h)
        return false;
    *slot = h;
    return true;
}

void check_before(struct flow *f, struct emit *e, const struct command *c, const struct slice *src,
                  const struct slice *argv, size_t argc)
{
    const struct adding *a = adding, *end = adding + sizeof adding / sizeof *adding;
    while (a < end && strcmp(a->name, c->name) != 0)
        a++;
    if (a == end || !keeps_something(argv, argc))
        return;
    struct keys k = command_keys(c, argv, argc);
    for (size_t i = keys_next(&k, 0); i != 0; i = keys_next(&k, i)) {
        const struct slice *about = a->about > 0 ? &src[a->about] : &src[i];
        if ((a->asked == 0 || a->asked == i) && (a->about != i || a->asked != 0) && a->about < argc &&
            first_time(f, &src[i]))
            probe(f, e, PROBE_OWN, f->src_db, &src[i], about);
    }
}
