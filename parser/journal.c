/* Journal entries: in blobs of the snapshot, and as the stream that follows it.
 * dragonfly-wire.md 5.1, 5.9, 6.1. */
#include <stdio.h>
#include <stdlib.h>

#include "flow.h"
#include "reread.h"

enum journal_op {
    J_SELECT = 6,
    J_EXPIRED = 9,
    J_COMMAND = 10,
    J_MULTI = 11,
    J_EXEC = 12,
    J_PING = 13,
    J_LSN = 15,
};

#define ARGS_MAX  ((uint64_t)1 << 20)
#define MULTI_MAX ((size_t)64 << 20)

/* The position after one more counted entry; 0 as long as none is known. */
static uint64_t count_one(struct flow *f)
{
    return f->counting ? ++f->next_lsn : 0;
}

static void use_db(struct flow *f, uint32_t db)
{
    f->src_db = db;
    f->o.db = f->sel != NULL ? select_db(f->sel, db) : db;
}

/* Does the journal's state belong to records from now on? */
static void enter(struct flow *f)
{
    f->o.live = true;
    use_db(f, f->jrn_db);
    f->o.pos = f->counting ? journal_below(f, f->next_lsn) : 0;
    f->o.after = f->counting ? f->next_lsn + 1 : 0;
}

/* txid, shard count, number of strings, their total length, the strings. */
static enum got take_command(struct flow *f, struct cur *c, uint64_t *txid, size_t *argc)
{
    uint64_t shards, n, total, len;
    enum got g = cur_plen(c, txid);
    if (g == GOT)
        g = cur_plen(c, &shards);
    if (g == GOT)
        g = cur_plen(c, &n);
    if (g == GOT)
        g = cur_plen(c, &total);
    if (g != GOT)
        return g;
    if (n == 0 || n > ARGS_MAX || total > PSTR_MAX)
        return cur_bad(c, "a journal entry of 1 to 1048576 arguments and at most 4 GiB");
    if (cur_left(c) < total + n) /* each has a length of at least one byte */
        return cur_need(c, total + n);
    f->argv.len = 0;
    struct slice *argv = (struct slice *)(void *)buf_room(&f->argv, n * sizeof *argv);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        g = cur_plen(c, &len);
        if (g != GOT)
            return g;
        sum += len;
        if (len > total || sum > total)
            return cur_bad(c, "arguments of the total length that the entry announced");
        g = cur_raw(c, len, &argv[i].p);
        if (g != GOT)
            return g;
        argv[i].n = len;
    }
    if (sum != total)
        return cur_bad(c, "arguments of the total length that the entry announced");
    *argc = n;
    return GOT;
}

/* ---- transactions of masters up to v1.20: kept until their EXEC ---- */

/* No damage: this master holds more open than we are willing to keep. */
static enum got multi_full(struct flow *f)
{
    snprintf(f->error, sizeof f->error,
             "transactions without their EXEC come to more than %zu MiB: they cannot be kept",
             MULTI_MAX >> 20);
    f->cannot = true;
    return BAD;
}

static enum got multi_keep(struct flow *f, uint64_t txid, const struct slice *argv, size_t argc)
{
    struct multi *m = f->multis;
    while (m != NULL && m->txid != txid)
        m = m->next;
    if (m == NULL) {
        m = xcalloc(1, sizeof *m);
        m->txid = txid;
        m->next = f->multis;
        m->entries.max = MULTI_MAX;
        f->multis = m;
        f->multi_bytes += sizeof *m;
    }
    size_t before = m->entries.cap;
    uint64_t head[2] = {f->jrn_db, argc};
    int rc = buf_add(&m->entries, head, sizeof head);
    for (size_t i = 0; i < argc && rc == 0; i++) {
        uint64_t n = argv[i].n;
        rc = buf_add(&m->entries, &n, sizeof n);
        if (rc == 0)
            rc = buf_add(&m->entries, argv[i].p, argv[i].n);
    }
    f->multi_bytes += m->entries.cap - before;
    return rc == 0 && f->multi_bytes <= MULTI_MAX ? GOT : multi_full(f);
}

static void multi_replay(struct flow *f, struct emit *e, const struct multi *m, uint64_t after)
{
    size_t at = 0;
    while (at < m->entries.len) {
        uint64_t head[2], n;
        memcpy(head, m->entries.p + at, sizeof head);
        at += sizeof head;
        f->argv.len = 0;
        struct slice *argv = (struct slice *)(void *)buf_room(&f->argv, head[1] * sizeof *argv);
        for (uint64_t i = 0; i < head[1]; i++) {
            memcpy(&n, m->entries.p + at, sizeof n);
            at += sizeof n;
            argv[i] = (struct slice){m->entries.p + at, n};
            at += n;
        }
        use_db(f, (uint32_t)head[0]);
        command_emit(f, e, m->txid, argv, head[1], at == m->entries.len ? after : f->o.pos);
    }
}

static void multi_exec(struct flow *f, struct emit *e, uint64_t txid, uint64_t after)
{
    struct multi **at = &f->multis;
    while (*at != NULL && (*at)->txid != txid)
        at = &(*at)->next;
    struct multi *m = *at;
    if (m == NULL) {
        f->o.pos = journal_below(f, after);
        emit_position(e, &f->o, RF_LIVE);
        return;
    }
    *at = m->next;
    f->entry_lsn = after > 0 ? after - 1 : 0;
    multi_replay(f, e, m, journal_below(f, after));
    f->multi_bytes -= m->entries.cap + sizeof *m;
    buf_free(&m->entries);
    free(m);
}

/* ---- entries ---- */

static enum got entry_command(struct flow *f, struct emit *e, struct cur *c, unsigned op)
{
    uint64_t txid;
    size_t argc;
    enum got g = take_command(f, c, &txid, &argc);
    if (g != GOT)
        return g;
    const struct slice *argv = (const struct slice *)(const void *)f->argv.p;
    enter(f);
    if (op == J_MULTI) { /* its position is reached with the EXEC */
        g = multi_keep(f, txid, argv, argc);
        if (g == GOT)
            (void)count_one(f);
        return g;
    }
    uint64_t after = count_one(f);
    f->entry_lsn = after > 0 ? after - 1 : 0;
    if (f->rereads != NULL && f->rereads->count > 0)
        reread_before_flush(f, e, &argv[0]);
    command_emit(f, e, txid, argv, argc, journal_below(f, after));
    return GOT;
}

static enum got entry_marker(struct flow *f, struct cur *c)
{
    uint64_t lsn;
    enum got g = cur_plen(c, &lsn);
    if (g == GOT && f->counting && lsn != f->next_lsn - 1)
        return cur_bad(c, "an LSN marker that agrees with the entries counted (entries are missing)");
    return g;
}

static enum got entry_body(struct flow *f, struct emit *e, struct cur *c, unsigned op)
{
    uint64_t v, shards;
    enum got g;
    switch ((enum journal_op)op) {
    case J_SELECT:
        g = cur_plen(c, &v);
        if (g == GOT && v > 1u << 20)
            return cur_bad(c, "a database number");
        if (g == GOT)
            f->jrn_db = (uint32_t)v;
        return g;
    case J_EXPIRED:
    case J_COMMAND:
    case J_MULTI: return entry_command(f, e, c, op);
    case J_EXEC:
        g = cur_plen(c, &v);
        if (g == GOT)
            g = cur_plen(c, &shards);
        if (g == GOT) {
            enter(f);
            multi_exec(f, e, v, count_one(f));
        }
        return g;
    case J_PING:
        enter(f);
        f->o.pos = journal_below(f, count_one(f));
        emit_position(e, &f->o, RF_LIVE);
        return GOT;
    case J_LSN: return entry_marker(f, c);
    }
    return cur_bad(c, "a known journal opcode");
}

enum got journal_entry(struct flow *f, struct emit *e, struct cur *c)
{
    struct cur t = *c;
    if (t.p >= t.end)
        return cur_need(c, 1);
    if (f->rr_due <= f->next_lsn)
        reread_write_due(f, e);
    unsigned op = *t.p++;
    enum got g = entry_body(f, e, &t, op);
    return cur_settle(c, &t, g);
}
