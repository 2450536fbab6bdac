/*
 * A flow of --live.  The full sync sends the flow's keys as they were when it began, and the journal entries
 * since then as blobs; a key that an entry touches is sent before it, as a real master does.
 */
#include <stdlib.h>
#include <string.h>

#include "live.h"

#define JOURNAL_BATCH   ((size_t)32 * 1024)
#define MARKER_EVERY_US INT64_C(4000000)

enum stage { HEADER, KEYS, MISSED, LATE, JOURNAL };

struct live_source {
    struct source base;
    struct live *l;
    unsigned flow;
    enum stage stage;
    bool by_sync, marked;
    uint64_t next; /* LSN of the next entry to send */
    int64_t marked_us;
    struct oracle_key *key;
    size_t keys, at;
    char token[TOKEN_LEN + 1];
    struct packer *packer;
    struct buf raw, out;
};

static struct live_source *of(struct source *s)
{
    return (struct live_source *)(void *)s;
}

static const struct live_source *of_const(const struct source *s)
{
    return (const struct live_source *)(const void *)s;
}

static void put_key(struct live_source *ls, struct oracle_key *k)
{
    if (k->sent)
        return;
    k->sent = true;
    buf_byte(&ls->raw, 0xfe);
    buf_plen(&ls->raw, k->db);
    if (k->expiry) {
        buf_byte(&ls->raw, 0xfc);
        buf_le(&ls->raw, k->expiry, 8);
    }
    buf_byte(&ls->raw, k->dump[0]);
    buf_pstr(&ls->raw, k->name, strlen(k->name));
    buf_put(&ls->raw, k->dump + 1, k->dump_len - 1);
}

static void put_touched(struct live_source *ls, const struct live_entry *e)
{
    for (size_t at = 0; at < e->keys.len; at += strlen((const char *)e->keys.p + at) + 1)
        for (size_t i = ls->at; i < ls->keys; i++)
            if (ls->key[i].db == e->db && !strcmp(ls->key[i].name, (const char *)e->keys.p + at))
                put_key(ls, &ls->key[i]);
}

/* The next entry into raw; false: there is none now. */
static bool put_entry(struct live_source *ls, bool blob)
{
    const struct live_entry *e = live_entry(ls->l, ls->flow, ls->next);
    if (!e)
        return false;
    if (e->bytes.len == 0) {
        ls->next++;
        return true; /* left out */
    }
    if (blob) {
        put_touched(ls, e);
        buf_byte(&ls->raw, 0xd2);
        buf_plen(&ls->raw, 1);
        buf_plen(&ls->raw, e->bytes.len);
    }
    buf_put(&ls->raw, e->bytes.p, e->bytes.len);
    ls->next++;
    return true;
}

static bool give(struct chunk *c, const struct buf *b, unsigned flags)
{
    *c = (struct chunk){b->p, b->len, flags};
    return true;
}

static bool give_header(struct live_source *ls, struct chunk *c)
{
    snapshot_header(&ls->raw, ls->flow, false);
    ls->stage = ls->by_sync ? MISSED : KEYS;
    if (!ls->by_sync) {
        ls->next = live_next_lsn(ls->l, ls->flow);
        ls->key = oracle_keys(live_oracle(ls->l), ls->flow, &ls->keys);
        live_reads(ls->l, ls->flow, 0, 1);
    }
    return give(c, &ls->raw, 0);
}

static bool give_cut(struct live_source *ls, struct chunk *c)
{
    live_reads(ls->l, ls->flow, 0, ls->stage == KEYS ? -1 : 0);
    buf_byte(&ls->raw, 0xc8);
    buf_le(&ls->raw, 0, 8);
    ls->stage = LATE;
    return give(c, &ls->raw, CHUNK_CUT);
}

static bool give_keys(struct live_source *ls, struct chunk *c)
{
    while (ls->raw.len < BLOB_SIZE && put_entry(ls, true))
        continue;
    while (ls->raw.len < BLOB_SIZE && ls->at < ls->keys)
        put_key(ls, &ls->key[ls->at++]);
    if (ls->raw.len)
        return give(c, packer_pack(ls->packer, &ls->raw, &ls->out), 0);
    return give_cut(ls, c);
}

static bool give_missed(struct live_source *ls, struct chunk *c)
{
    while (ls->raw.len < JOURNAL_BATCH && put_entry(ls, true))
        continue;
    return ls->raw.len ? give(c, &ls->raw, 0) : give_cut(ls, c);
}

static bool give_late(struct live_source *ls, enum phase phase, struct chunk *c)
{
    while (ls->raw.len < JOURNAL_BATCH && put_entry(ls, true))
        continue;
    if (ls->raw.len)
        return give(c, &ls->raw, 0);
    if (phase != PHASE_STABLE)
        return false;
    buf_byte(&ls->raw, 0xd3);
    buf_le(&ls->raw, ls->next, 8);
    buf_byte(&ls->raw, 0xff);
    buf_le(&ls->raw, 0, 8);
    buf_put(&ls->raw, ls->token, TOKEN_LEN);
    ls->stage = JOURNAL;
    return give(c, &ls->raw, CHUNK_SWITCH);
}

static bool give_journal(struct live_source *ls, int64_t now_us, struct chunk *c)
{
    while (ls->raw.len < JOURNAL_BATCH && put_entry(ls, false)) {
        if (ls->marked && now_us - ls->marked_us < MARKER_EVERY_US)
            continue;
        buf_byte(&ls->raw, 15);
        buf_plen(&ls->raw, ls->next - 1);
        ls->marked = true;
        ls->marked_us = now_us;
    }
    return ls->raw.len && give(c, &ls->raw, 0);
}

/* New entries come with live_tick, which sees to it that the loop goes round. */
static bool next(struct source *s, enum phase phase, int64_t now_us, struct chunk *c, int64_t *wake)
{
    struct live_source *ls = of(s);
    (void)wake;
    ls->raw.len = 0;
    switch (ls->stage) {
    case HEADER: return give_header(ls, c);
    case KEYS: return give_keys(ls, c);
    case MISSED: return give_missed(ls, c);
    case LATE: return give_late(ls, phase, c);
    case JOURNAL: return phase == PHASE_STABLE && give_journal(ls, now_us, c);
    }
    return false;
}

static uint64_t next_lsn(const struct source *s)
{
    const struct live_source *ls = of_const(s);
    /* Before the keys are taken nothing is behind. */
    return ls->stage == HEADER && !ls->by_sync ? live_next_lsn(ls->l, ls->flow) : ls->next;
}

static bool finished(const struct source *s)
{
    (void)s;
    return false;
}

static bool between_entries(const struct source *s)
{
    return of_const(s)->stage == LATE;
}

static void close_source(struct source *s)
{
    struct live_source *ls = of(s);
    live_reads(ls->l, ls->flow, -1, ls->stage == KEYS ? -1 : 0);
    packer_free(ls->packer);
    oracle_keys_free(ls->key, ls->keys);
    buf_free(&ls->raw);
    buf_free(&ls->out);
    free(ls);
}

static const struct source_ops live_ops = {next, next_lsn, finished, between_entries, close_source};

bool live_start(struct live *l, unsigned session, unsigned flow, struct flow_start *start)
{
    struct live_source *ls = grab(sizeof *ls);
    ls->base.ops = &live_ops;
    ls->l = l;
    ls->flow = flow;
    ls->packer = packer_new();
    hex40(ls->token, mix2(opt.seed, session), flow);
    live_reads(l, flow, 1, 0);
    start->partial = live_asked(l, flow, start->has_lsn, start->lsn);
    if (start->partial) {
        ls->by_sync = start->by_sync;
        ls->stage = ls->by_sync ? HEADER : JOURNAL;
        ls->next = start->lsn;
    }
    memcpy(start->token, ls->token, sizeof start->token);
    start->source = &ls->base;
    return true;
}
