/*
 * A flow's bytes, made while they are sent: header, keys in blobs with journal blobs among them,
 * the cut; after STARTSTABLE the journal offset, EOF, token and the paced journal.  Only one
 * blob is held at a time.
 */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

#define JOURNAL_BATCH   ((size_t)32 * 1024)
#define MARKER_EVERY_US INT64_C(4000000)

enum stage { HEADER, MISSED, BIG_HEAD, BIG_BODY, KEYS, CUT, LATE_BLOBS, SWITCH, JOURNAL };

/* What outlives a session: where the flow's journal is. */
struct gen_flow {
    uint64_t next_lsn;
    uint64_t entry0_lsn; /* LSN of entry 0 of the newest full sync */
    uint64_t produced;   /* entries that clients have "written" since that full sync */
    bool has_history;    /* a full sync was completed, so its LSNs are known to somebody */
};

struct generator {
    struct dataset data;
    struct words words;
    struct gen_flow flow[];
};

struct gen_source {
    struct source base;
    struct generator *g;
    struct gen_flow *gf;
    unsigned flow, session;
    enum stage stage;
    uint64_t key, keys; /* ordinals within the flow */
    uint64_t entry, big_at;
    bool flushed, by_sync;
    bool journal_begun, marked;
    uint64_t stable_entry;
    int64_t stable_us, marked_us;
    char token[TOKEN_LEN + 1];
    struct packer *packer;
    struct buf raw, out;
};

static struct gen_source *of(struct source *s)
{
    return (struct gen_source *)(void *)s;
}

struct generator *generator_new(void)
{
    struct generator *g = grab(sizeof *g + opt.flows * sizeof *g->flow);
    dataset_init(&g->data);
    for (uint64_t i = 0; i < opt.flows; i++)
        g->flow[i].next_lsn = 1;
    return g;
}

void generator_free(struct generator *g)
{
    if (!g)
        return;
    dataset_free(&g->data);
    words_free(&g->words);
    free(g);
}

uint64_t generator_next_lsn(const struct generator *g, unsigned flow)
{
    return g->flow[flow].next_lsn;
}

static void aux(struct buf *out, const char *name, const char *value)
{
    buf_byte(out, 0xfa);
    buf_pstr(out, name, strlen(name));
    buf_pstr(out, value, strlen(value));
}

void snapshot_header(struct buf *out, unsigned flow, bool file)
{
    char id[REPLID_LEN + 1], number[24] = "";
    buf_text(out, "REDIS0009");
    if (file) {
        hex40(id, opt.seed, 0x736e6170);
        id[32] = '\0';
        aux(out, "snapshot-id", id);
    }
    aux(out, "redis-ver", "6.2.11");
    aux(out, "df-ver", opt.df_version);
    aux(out, "redis-bits", "64");
    aux(out, "ctime", "1767225600"); /* a constant: the same options give the same bytes */
    aux(out, "used-mem", "1000000");
    aux(out, "aof-preamble", "0");
    format_u64(number, flow);
    aux(out, "shard-id", number);
}

static void put_entry(struct gen_source *gs, bool blob, struct buf *out)
{
    struct live_op op = plan_op(gs->flow, gs->entry);
    struct words *w = &gs->g->words;
    uint64_t txid = live_txid(&op);
    if (gs->entry == plan_flush_entry(gs->flow)) {
        words_set(w, 1, (const char *const[]){"FLUSHALL"});
        txid = FLUSH_TXID;
    } else {
        live_command(&gs->g->data, &op, w);
    }
    if (blob)
        journal_blob(out, txid, w);
    else
        journal_command(out, txid, w);
    gs->entry++;
    if (gs->entry > gs->gf->produced)
        gs->gf->produced = gs->entry;
    gs->gf->next_lsn = gs->gf->entry0_lsn + gs->gf->produced;
}

/* The FLUSHALL that makes a replica begin again; it has an LSN of its own. */
static void flush_in_snapshot(struct gen_source *gs)
{
    if (gs->flushed || !opt.flush_before_cut || gs->session != 1)
        return;
    words_set(&gs->g->words, 1, (const char *const[]){"FLUSHALL"});
    journal_blob(&gs->raw, FLUSH_TXID + 1, &gs->g->words);
    gs->gf->entry0_lsn++;
    gs->gf->next_lsn++;
    gs->flushed = true;
}

/* Gathers entries into raw until a blob is full; leaves it empty when the keys are done. */
static void gather_keys(struct gen_source *gs)
{
    uint64_t early = plan_early(), flush_key = gs->keys / 2;
    uint64_t place = gs->entry < early ? plan_place(gs->flow, gs->entry) : UINT64_MAX;
    gs->raw.len = 0;
    if (gs->key == gs->keys && gs->entry >= early)
        return;
    buf_put(&gs->raw, "\xfe\x00", 2); /* SELECTDB 0, as after every flush of the serializer */
    while (gs->raw.len < BLOB_SIZE) {
        if (gs->key >= place) {
            put_entry(gs, true, &gs->raw);
            place = gs->entry < early ? plan_place(gs->flow, gs->entry) : UINT64_MAX;
            continue;
        }
        if (gs->key == gs->keys)
            break;
        if (gs->key == flush_key)
            flush_in_snapshot(gs);
        if (!key_omitted(gs->key * opt.flows + gs->flow))
            rdb_key_value(&gs->g->data, &gs->raw, gs->key * opt.flows + gs->flow);
        gs->key++;
    }
}

static bool give(struct chunk *c, const struct buf *b, unsigned flags)
{
    *c = (struct chunk){b->p, b->len, flags};
    return true;
}

static bool give_big(struct gen_source *gs, struct chunk *c)
{
    gs->raw.len = 0;
    if (gs->stage == BIG_HEAD) {
        buf_put(&gs->raw, "\xfe\x00", 2);
        big_head(&gs->raw, false);
        gs->stage = BIG_BODY;
    }
    gs->big_at += big_part(&gs->g->data, &gs->raw, gs->big_at);
    if (gs->big_at == opt.big_value)
        gs->stage = KEYS;
    return give(c, &gs->raw, 0);
}

static bool give_cut(struct gen_source *gs, struct chunk *c)
{
    gs->raw.len = 0;
    flush_in_snapshot(gs); /* where there were no keys */
    buf_byte(&gs->raw, 0xc8);
    buf_le(&gs->raw, 0, 8);
    gs->stage = LATE_BLOBS;
    return give(c, &gs->raw, CHUNK_CUT);
}

static bool give_late(struct gen_source *gs, struct chunk *c)
{
    gs->raw.len = 0;
    if (gs->entry >= opt.fullsync_journal)
        return false;
    while (gs->entry < opt.fullsync_journal)
        put_entry(gs, true, &gs->raw);
    return give(c, &gs->raw, 0);
}

/* What a partial sync by DFLY SYNC has to tell: entries as blobs. */
static bool give_missed(struct gen_source *gs, struct chunk *c)
{
    gs->raw.len = 0;
    while (gs->entry < gs->gf->produced && gs->raw.len < JOURNAL_BATCH)
        put_entry(gs, true, &gs->raw);
    return gs->raw.len && give(c, &gs->raw, 0);
}

static bool give_switch(struct gen_source *gs, struct chunk *c)
{
    gs->raw.len = 0;
    buf_byte(&gs->raw, 0xd3);
    buf_le(&gs->raw, gs->gf->entry0_lsn + gs->entry, 8);
    buf_byte(&gs->raw, 0xff);
    buf_le(&gs->raw, 0, 8);
    buf_put(&gs->raw, gs->token, TOKEN_LEN);
    gs->gf->has_history = true;
    gs->stage = JOURNAL;
    return give(c, &gs->raw, CHUNK_SWITCH);
}

/* Entries that clients have written by now; *due_us: when the next one will be. */
static uint64_t entries_due(struct gen_source *gs, int64_t now_us, int64_t *due_us)
{
    uint64_t all = plan_entries(gs->flow);
    if (!gs->journal_begun) {
        gs->journal_begun = true;
        gs->stable_us = now_us;
        gs->stable_entry = gs->entry > gs->gf->produced ? gs->entry : gs->gf->produced;
    }
    *due_us = NEVER;
    if (!opt.journal_rate)
        return all;
    double per_us = (double)opt.journal_rate / (double)opt.flows / 1e6;
    uint64_t due = gs->stable_entry + (uint64_t)((double)(now_us - gs->stable_us) * per_us);
    if (due >= all)
        return all;
    *due_us = gs->stable_us + (int64_t)((double)(due + 1 - gs->stable_entry) / per_us) + 1;
    return due;
}

static bool give_journal(struct gen_source *gs, int64_t now_us, struct chunk *c, int64_t *wake)
{
    int64_t due_us;
    uint64_t due = entries_due(gs, now_us, &due_us);
    gs->raw.len = 0;
    while (gs->entry < due && gs->raw.len < JOURNAL_BATCH) {
        put_entry(gs, false, &gs->raw);
        /* A marker after the first entry, then only every few seconds and only beside a write. */
        if (gs->marked && now_us - gs->marked_us < MARKER_EVERY_US)
            continue;
        buf_byte(&gs->raw, 15);
        buf_plen(&gs->raw, gs->gf->entry0_lsn + gs->entry - 1);
        gs->marked = true;
        gs->marked_us = now_us;
    }
    if (gs->raw.len)
        return give(c, &gs->raw, 0);
    if (due_us < *wake)
        *wake = due_us;
    return false;
}

static bool generate_next(struct source *s, enum phase phase, int64_t now_us, struct chunk *c, int64_t *wake)
{
    struct gen_source *gs = of(s);
    switch (gs->stage) {
    case HEADER:
        gs->raw.len = 0;
        snapshot_header(&gs->raw, gs->flow, false);
        gs->stage = gs->by_sync ? MISSED : gs->flow == 0 && opt.big_value ? BIG_HEAD : KEYS;
        return give(c, &gs->raw, 0);
    case MISSED:
        if (give_missed(gs, c))
            return true;
        gs->stage = CUT;
        return give_cut(gs, c);
    case BIG_HEAD:
    case BIG_BODY: return give_big(gs, c);
    case KEYS:
        gather_keys(gs);
        if (gs->raw.len)
            return give(c, packer_pack(gs->packer, &gs->raw, &gs->out), 0);
        gs->stage = CUT;
        /* fall through */
    case CUT: return give_cut(gs, c);
    case LATE_BLOBS:
        if (give_late(gs, c))
            return true;
        if (phase != PHASE_STABLE)
            return false;
        gs->stage = SWITCH;
        /* fall through */
    case SWITCH: return give_switch(gs, c);
    case JOURNAL: return phase == PHASE_STABLE && give_journal(gs, now_us, c, wake);
    }
    return false;
}

static uint64_t generate_next_lsn(const struct source *s)
{
    const struct gen_source *gs = (const struct gen_source *)(const void *)s;
    return gs->gf->entry0_lsn + gs->entry;
}

static bool generate_finished(const struct source *s)
{
    const struct gen_source *gs = (const struct gen_source *)(const void *)s;
    return gs->stage == JOURNAL && gs->entry >= plan_entries(gs->flow);
}

static bool generate_between(const struct source *s)
{
    const struct gen_source *gs = (const struct gen_source *)(const void *)s;
    return gs->stage == LATE_BLOBS;
}

static void generate_close(struct source *s)
{
    struct gen_source *gs = of(s);
    packer_free(gs->packer);
    buf_free(&gs->raw);
    buf_free(&gs->out);
    free(gs);
}

static const struct source_ops generate_ops = {
    generate_next, generate_next_lsn, generate_finished, generate_between, generate_close,
};

static bool partial_possible(const struct gen_flow *gf, const struct flow_start *start)
{
    if (!start->has_lsn || opt.old_no_partial || !gf->has_history)
        return false;
    return start->lsn >= gf->entry0_lsn + opt.fullsync_journal && start->lsn <= gf->next_lsn &&
           gf->next_lsn - start->lsn <= opt.backlog;
}

bool generator_start(struct generator *g, unsigned session, unsigned flow, struct flow_start *start)
{
    struct gen_flow *gf = &g->flow[flow];
    struct gen_source *gs = grab(sizeof *gs);
    gs->base.ops = &generate_ops;
    gs->g = g;
    gs->gf = gf;
    gs->flow = flow;
    gs->session = session;
    gs->keys = dataset_flow_keys(flow);
    gs->packer = packer_new();
    hex40(gs->token, mix2(opt.seed, session), flow);
    start->partial = partial_possible(gf, start);
    if (start->partial) {
        gs->by_sync = start->by_sync;
        gs->stage = gs->by_sync ? HEADER : JOURNAL;
        gs->entry = start->lsn - gf->entry0_lsn;
    } else {
        /* The data set is again what it was at first, and its journal is written again after it. */
        gf->entry0_lsn = gf->next_lsn;
        gf->produced = 0;
        gf->has_history = false;
    }
    memcpy(start->token, gs->token, sizeof start->token);
    start->source = &gs->base;
    return true;
}
