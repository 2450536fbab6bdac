/*
 * --live: a master whose clients never stop.  Their writes (tests/crash/traffic.c) go to a private
 * redis-server, the oracle, which thereby holds what every replica has to end with, and those that succeed
 * into the journals of the flows.  Each journal keeps its newest --backlog entries, and a session may go on
 * from any of them.
 */
#include "live.h"

#include <stdlib.h>
#include <string.h>

#define TICK_US  INT64_C(2000)
#define TICK_MAX 500u

struct live_flow {
    uint64_t next_lsn;
    uint64_t kept; /* the oldest entry that may be asked for */
    int readers, snapshots;
    struct live_entry *ring; /* LSN l is at l % backlog */
};

struct live {
    struct oracle *oracle;
    struct traffic traffic;
    struct words words;
    bool paused;
    int64_t since_us; /* writes are due from here on */
    uint64_t txid, made, omits, full, partial, refused;
    struct live_flow flow[];
};

struct live *live_new(void)
{
    struct live *l = grab(sizeof *l + opt.flows * sizeof *l->flow);
    l->oracle = oracle_open((unsigned)opt.live_port);
    if (!l->oracle) {
        free(l);
        return NULL;
    }
    for (uint64_t i = 0; i < opt.flows; i++) {
        l->flow[i].next_lsn = l->flow[i].kept = 1;
        l->flow[i].ring = grab(opt.backlog * sizeof *l->flow[i].ring);
    }
    traffic_init(&l->traffic, &(struct traffic_options){.seed = opt.seed,
                                                        .flows = (unsigned)opt.flows,
                                                        .dbs = (unsigned)opt.live_dbs,
                                                        .keys = (unsigned)opt.live_keys,
                                                        .flush_every = (unsigned)opt.live_flush,
                                                        .safe = opt.live_safe});
    l->paused = true; /* the first writes are made before anybody can connect */
    for (uint64_t i = 0; i < opt.live_warm; i++)
        live_write(l);
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    for (uint64_t i = 0; i < opt.flows; i++) {
        for (uint64_t e = 0; e < opt.backlog; e++) {
            buf_free(&l->flow[i].ring[e].bytes);
            buf_free(&l->flow[i].ring[e].keys);
        }
        free(l->flow[i].ring);
    }
    traffic_free(&l->traffic);
    words_free(&l->words);
    oracle_close(l->oracle);
    free(l);
}

uint64_t live_omits(const struct live *l)
{
    return l->omits;
}

uint64_t live_next_lsn(const struct live *l, unsigned flow)
{
    return l->flow[flow].next_lsn;
}

struct oracle *live_oracle(struct live *l)
{
    return l->oracle;
}

void live_reads(struct live *l, unsigned flow, int readers, int snapshots)
{
    l->flow[flow].readers += readers;
    l->flow[flow].snapshots += snapshots;
}

static uint64_t first_lsn(const struct live_flow *f)
{
    return f->next_lsn > opt.backlog ? f->next_lsn - opt.backlog : 1;
}

const struct live_entry *live_entry(const struct live *l, unsigned flow, uint64_t lsn)
{
    const struct live_flow *f = &l->flow[flow];
    return lsn >= first_lsn(f) && lsn < f->next_lsn ? &f->ring[lsn % opt.backlog] : NULL;
}

bool live_asked(struct live *l, unsigned flow, bool has_lsn, uint64_t lsn)
{
    const struct live_flow *f = &l->flow[flow];
    bool partial =
        has_lsn && !opt.old_no_partial && lsn >= first_lsn(f) && lsn >= f->kept && lsn <= f->next_lsn;
    l->partial += partial;
    l->full += !partial;
    l->refused += has_lsn && !partial;
    return partial;
}

/* ---- writes ---- */

/* --live-omit: a SET that makes a key, while one snapshot that may not have reached it is all that reads the
 * journal. Such a write takes an LSN, and empties what a partial sync could ask for. */
static bool omitted(struct live *l, const struct traffic_command *c)
{
    unsigned flow = c->keys == 1 ? traffic_flow(c->argv[1], c->len[1]) : 0;
    const struct live_flow *f = &l->flow[flow];
    return opt.live_omit && c->keys == 1 && c->len[0] == 3 && !memcmp(c->argv[0], "SET", 3) &&
           f->readers == 1 && f->snapshots == 1 && mix2(opt.seed, l->made) % opt.live_omit == 0 &&
           !oracle_exists(l->oracle, c->db, c->argv[1], c->len[1]);
}

static void omit_entry(struct live *l, unsigned flow)
{
    struct live_flow *f = &l->flow[flow];
    struct live_entry *e = &f->ring[f->next_lsn++ % opt.backlog];
    e->bytes.len = e->keys.len = 0;
    f->kept = f->next_lsn;
    l->omits++;
}

static void log_entry(struct live *l, unsigned flow, unsigned db, uint64_t txid, unsigned keys, unsigned step)
{
    struct live_flow *f = &l->flow[flow];
    struct live_entry *e = &f->ring[f->next_lsn++ % opt.backlog];
    e->db = db;
    e->bytes.len = e->keys.len = 0;
    journal_command_db(&e->bytes, db, txid, &l->words);
    for (unsigned k = 0; k < keys; k++) {
        buf_put(&e->keys, l->words.argv[1 + k * step], l->words.len[1 + k * step]);
        buf_byte(&e->keys, 0); /* names made by traffic.c hold none */
    }
}

/* What of the command belongs to a flow; returns its number of keys. */
static unsigned part_of(struct live *l, const struct traffic_command *c, unsigned flow)
{
    struct words *w = &l->words;
    unsigned keys = 0;
    w->argc = 0;
    for (unsigned i = 0; i < c->argc; i++) {
        unsigned group = i ? (i - 1) / c->step : 0, at = 1 + group * c->step;
        bool other = i && c->spread && traffic_flow(c->argv[at], c->len[at]) != flow;
        if (other)
            continue;
        keys += i && group < c->keys && at == i;
        w->argv[w->argc] = c->argv[i];
        w->len[w->argc++] = c->len[i];
    }
    return keys;
}

void live_write(struct live *l)
{
    struct traffic_command c;
    traffic_next(&l->traffic, &c);
    bool omit = omitted(l, &c);
    if (!oracle_write(l->oracle, &c))
        return;
    l->made++;
    uint64_t txid = ++l->txid;
    if (omit) {
        omit_entry(l, traffic_flow(c.argv[1], c.len[1]));
        traffic_heat(&l->traffic, &c);
        return;
    }
    for (unsigned i = 0; i < opt.flows; i++) {
        bool whole = !c.spread && c.keys && traffic_flow(c.argv[1], c.len[1]) == i;
        unsigned keys = whole || c.spread || !c.keys ? part_of(l, &c, i) : 0;
        if (keys || !c.keys)
            log_entry(l, i, c.db, txid, keys, c.step);
    }
}

/* A real master holds its clients back where a replica does not take its journal. */
static bool held_back(const struct master *m, const struct live *l)
{
    for (const struct session *s = m->sessions; s; s = s->next)
        for (unsigned i = 0; i < m->nflows && !s->ended; i++) {
            const struct flow *f = s->flow[i];
            if (f && l->flow[i].next_lsn - f->source->ops->next_lsn(f->source) > opt.backlog / 2)
                return true;
        }
    return false;
}

void live_tick(struct master *m, int64_t now_us)
{
    struct live *l = m->live;
    if (l->paused || !opt.journal_rate)
        return;
    wake_at(m, now_us + TICK_US);
    uint64_t due = (uint64_t)((double)(now_us - l->since_us) * (double)opt.journal_rate / 1e6);
    if (due == 0)
        return;
    l->since_us = now_us;
    if (held_back(m, l))
        return;
    for (uint64_t i = 0; i < due && i < TICK_MAX; i++)
        live_write(l);
}

/* ---- STANDIN PAUSE | GO | INFO ---- */

static void info(struct master *m, struct conn *c)
{
    const struct live *l = m->live;
    char line[200];
    int n = snprintf(line, sizeof line,
                     "writes=%llu full=%llu partial=%llu refused=%llu sessions=%u illegal=%lu omits=%llu",
                     (unsigned long long)l->made, (unsigned long long)l->full, (unsigned long long)l->partial,
                     (unsigned long long)l->refused, m->sessions_started, m->illegal,
                     (unsigned long long)l->omits);
    buf_bulk(&c->out, line, (size_t)n);
}

bool live_run(struct master *m, struct conn *c, const struct request *r)
{
    if (!m->live)
        return false;
    if (word_is(r->argv[0], "SCAN") && (r->argc == 2 || (r->argc == 4 && word_is(r->argv[2], "COUNT")))) {
        live_scan(m->live, c, r);
        return true;
    }
    if (r->argc != 2)
        return false;
    if (word_is(r->argv[0], "DUMP")) {
        oracle_dump(m->live->oracle, c->db, r->argv[1], r->len[1], &c->out);
        return true;
    }
    if (word_is(r->argv[0], "PTTL")) {
        conn_reply(c, ":%lld\r\n", oracle_pttl(m->live->oracle, c->db, r->argv[1], r->len[1]));
        return true;
    }
    if (!word_is(r->argv[0], "STANDIN"))
        return false;
    if (word_is(r->argv[1], "INFO")) {
        info(m, c);
        return true;
    }
    m->live->paused = word_is(r->argv[1], "PAUSE");
    m->live->since_us = clock_us();
    conn_reply(c, "+OK\r\n");
    return true;
}
