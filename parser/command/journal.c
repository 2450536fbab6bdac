#include <stdlib.h>

#include "args.h"
#include "journal.h"
#include "../reread/reread.h"

enum journal_op {
    J_SELECT = 6,
    J_EXPIRED = 9,
    J_COMMAND = 10,
    J_MULTI = 11,
    J_EXEC = 12,
    J_PING = 13,
    J_LSN = 15,
};

#define ARGS_MAX ((uint64_t)1 << 20)

/* The position after one more counted entry; 0 as long as none is known. */
static uint64_t count_one(struct journal *j)
{
    return j->to->counting ? ++j->to->next_lsn : 0;
}

/* Does the journal's state belong to records from now on? */
static void enter(struct journal *j)
{
    j->to->o.live = true;
    j->to->o.db = sink_db(j->to, j->db);
    j->to->o.pos = j->to->counting ? sink_below(j->to, j->to->next_lsn) : 0;
    j->to->o.after = j->to->counting ? j->to->next_lsn + 1 : 0;
    j->to->before = j->to->next_lsn;
}

/* txid, shard count, number of strings, their total length, the strings. */
static enum got take_command(struct journal *j, struct cur *c, uint64_t *txid, size_t *argc)
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
    j->argv.len = 0;
    struct slice *argv = (struct slice *)(void *)buf_room(&j->argv, n * sizeof *argv);
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

static enum got multi_keep(struct journal *j, uint64_t txid, const struct slice *argv, size_t argc)
{
    struct multi *m = j->multis;
    while (m != NULL && m->txid != txid)
        m = m->next;
    if (m == NULL) {
        m = xcalloc(1, sizeof *m);
        m->txid = txid;
        m->next = j->multis;
        m->entries.max = MULTI_MAX;
        j->multis = m;
        j->multi_bytes += sizeof *m;
    }
    size_t before = m->entries.cap;
    uint64_t head[2] = {j->db, argc};
    int rc = buf_add(&m->entries, head, sizeof head);
    if (rc == 0)
        rc = args_keep(&m->entries, argv, argc);
    j->multi_bytes += m->entries.cap - before;
    j->to->in_multi = true;
    j->full = rc < 0 || j->multi_bytes > MULTI_MAX;
    return j->full ? BAD : GOT;
}

static void multi_replay(struct journal *j, const struct multi *m, uint64_t lsn, uint64_t after)
{
    size_t at = 0;
    while (at < m->entries.len) {
        uint64_t head[2];
        memcpy(head, m->entries.p + at, sizeof head);
        j->argv.len = 0;
        struct slice *argv = (struct slice *)(void *)buf_room(&j->argv, head[1] * sizeof *argv);
        at = (size_t)(args_kept(m->entries.p + at + sizeof head, argv, head[1]) - m->entries.p);
        struct change ch = {.db = (uint32_t)head[0],
                            .argv = argv,
                            .argc = head[1],
                            .txid = m->txid,
                            .lsn = lsn,
                            .after = at == m->entries.len ? after : j->to->o.pos,
                            .time = j->to->o.time};
        j->to->o.db = sink_db(j->to, ch.db);
        change_command(j->to, &ch);
    }
}

static void multi_exec(struct journal *j, uint64_t txid, uint64_t after)
{
    struct multi **at = &j->multis;
    while (*at != NULL && (*at)->txid != txid)
        at = &(*at)->next;
    struct multi *m = *at;
    if (m == NULL) {
        j->to->o.pos = sink_below(j->to, after);
        emit_position(j->to->e, &j->to->o, RF_LIVE);
        return;
    }
    *at = m->next;
    j->to->in_multi = j->multis != NULL;
    multi_replay(j, m, after > 0 ? after - 1 : 0, sink_below(j->to, after));
    j->multi_bytes -= m->entries.cap + sizeof *m;
    buf_free(&m->entries);
    free(m);
}

/* ---- entries ---- */

static enum got entry_command(struct journal *j, struct cur *c, unsigned op)
{
    uint64_t txid;
    size_t argc;
    enum got g = take_command(j, c, &txid, &argc);
    if (g != GOT)
        return g;
    const struct slice *argv = (const struct slice *)(const void *)j->argv.p;
    enter(j);
    if (op == J_MULTI) { /* its position is reached with the EXEC */
        g = multi_keep(j, txid, argv, argc);
        if (g == GOT)
            (void)count_one(j);
        return g;
    }
    uint64_t after = count_one(j);
    struct change ch = {.db = j->db,
                        .argv = argv,
                        .argc = argc,
                        .txid = txid,
                        .lsn = after > 0 ? after - 1 : 0,
                        .time = j->to->o.time};
    if (j->to->rereads != NULL && j->to->rereads->count > 0)
        reread_before_flush(j->to, &ch);
    ch.after = sink_below(j->to, after);
    change_command(j->to, &ch);
    return GOT;
}

static enum got entry_marker(struct journal *j, struct cur *c)
{
    uint64_t lsn;
    enum got g = cur_plen(c, &lsn);
    if (g == GOT && j->to->counting && lsn != j->to->next_lsn - 1)
        return cur_bad(c, "an LSN marker that agrees with the entries counted (entries are missing)");
    return g;
}

static enum got entry_body(struct journal *j, struct cur *c, unsigned op)
{
    uint64_t v, shards;
    enum got g;
    switch ((enum journal_op)op) {
    case J_SELECT:
        g = cur_plen(c, &v);
        if (g == GOT && v > 1u << 20)
            return cur_bad(c, "a database number");
        if (g == GOT)
            j->db = (uint32_t)v;
        return g;
    case J_EXPIRED:
    case J_COMMAND:
    case J_MULTI: return entry_command(j, c, op);
    case J_EXEC:
        g = cur_plen(c, &v);
        if (g == GOT)
            g = cur_plen(c, &shards);
        if (g == GOT) {
            enter(j);
            multi_exec(j, v, count_one(j));
        }
        return g;
    case J_PING:
        enter(j);
        j->to->o.pos = sink_below(j->to, count_one(j));
        emit_position(j->to->e, &j->to->o, RF_LIVE);
        return GOT;
    case J_LSN: return entry_marker(j, c);
    }
    return cur_bad(c, "a known journal opcode");
}

enum got journal_entry(struct journal *j, struct cur *c)
{
    struct cur t = *c;
    if (t.p >= t.end)
        return cur_need(c, 1);
    if (j->to->due <= j->to->next_lsn)
        reread_write_due(j->to);
    unsigned op = *t.p++;
    enum got g = entry_body(j, &t, op);
    return cur_settle(c, &t, g);
}

void journal_free(struct journal *j)
{
    while (j->multis != NULL) {
        struct multi *m = j->multis;
        j->multis = m->next;
        buf_free(&m->entries);
        free(m);
    }
    buf_free(&j->argv);
}
