#include "flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bsd/string.h>

#include "crc64.h"
#include "log.h"
#include "reread/slots.h"
#include "settle.h"

void flow_init(struct flow *f, uint16_t number)
{
    memset(f, 0, sizeof *f);
    f->to.o.flow = number;
    f->to.hold = f->to.left_at = f->to.due = f->to.checks.due = f->to.asked_from = UINT64_MAX;
    f->rdb.to = f->journal.to = &f->to;
    f->rdb.journal = &f->journal;
    aof_init(&f->aof, &f->psync);
    f->rdb.aof = &f->aof;
    carry_init(&f->carry);
    f->scanned.to = &f->to;
    carry_init(&f->scanned.carry);
}

void flow_free(struct flow *f)
{
    rdb_free(&f->rdb);
    journal_free(&f->journal);
    psync_free(&f->psync);
    scanned_free(&f->scanned);
    slots_free(&f->to);
    sink_free(&f->to);
    carry_free(&f->carry);
}

void flow_begin(struct flow *f, uint16_t epoch, bool file, bool journal, unsigned flows, uint64_t lsn,
                const char *token)
{
    uint16_t number = f->to.o.flow;
    const struct filter *filter = f->to.filter;
    struct rereads *rereads = f->to.rereads;
    struct emit *e = f->to.e;
    struct outlet *outlet = f->to.outlet;
    flow_free(f);
    flow_init(f, number);
    f->to.e = e;
    f->to.outlet = outlet;
    f->to.filter = filter;
    f->to.rereads = rereads;
    f->to.o.epoch = epoch;
    f->to.o.journal = journal;
    f->to.flows = flows;
    f->to.dialect = dialect_dragonfly(0); /* AUX will say */
    f->rdb.file = file;
    if (token != NULL)
        strlcpy(f->rdb.token, token, sizeof f->rdb.token);
    if (lsn > 0) {
        f->rdb.stage = STAGE_JOURNAL;
        f->to.cut = f->to.synced = f->to.counting = f->to.goes_on = true;
        f->to.next_lsn = lsn;
        /* No AUX says it; most masters with partial syncs are of these releases. */
        f->to.dialect = dialect_dragonfly(VERSION(1, 40));
        f->to.o.live = true;
    }
}

void flow_as_snapshot(struct flow *f)
{
    f->rdb.stage = STAGE_MAGIC;
    f->to.cut = f->to.synced = false;
    f->to.dialect = dialect_dragonfly(0);
    f->to.o.live = false;
}

void flow_of_redis(struct flow *f, uint64_t lsn)
{
    f->rdb.psync = &f->psync;
    f->rdb.family = FAMILY_REDIS;
    f->to.dialect = dialect_redis();
    psync_begin(&f->psync, &f->to, lsn);
}

static enum got parse(struct flow *f, struct cur *c)
{
    enum got g = GOT;
    while (g == GOT && c->p < c->end && !f->to.e->refused) {
        if (f->rdb.stage != STAGE_JOURNAL)
            g = rdb_feed(&f->rdb, c);
        else if (f->aof.on)
            g = aof_feed(&f->aof, c);
        else if (f->rdb.psync != NULL)
            g = psync_command(&f->psync, c);
        else
            g = journal_entry(&f->journal, c);
    }
    return g;
}

/* "byte N of …": of the flow, or of the file. */
static void where(const struct flow *f, uint64_t at, char *text, size_t cap)
{
    snprintf(text, cap, "byte %llu of %.100s", (unsigned long long)(at - f->aof.begins),
             f->aof.on ? f->aof.file.name : "the flow");
}

static int fail(struct flow *f, uint64_t at, const char *why)
{
    const struct rdb *r = &f->rdb;
    char place[160];
    where(f, at, place, sizeof place);
    if (f->journal.full) {
        snprintf(f->error, sizeof f->error,
                 "transactions without their EXEC come to more than %zu MiB: they cannot be kept",
                 MULTI_MAX >> 20);
        f->cannot = true;
    } else if (f->psync.cannot != NULL) {
        snprintf(f->error, sizeof f->error, "not supported at %s: %s", place, f->psync.cannot);
        f->cannot = true;
    } else if (r->foreign[0] != '\0') {
        snprintf(f->error, sizeof f->error, "not supported at %s: %s", place, r->foreign);
        /* Nothing was written yet, or it is no snapshot. */
        f->cannot = r->stage == STAGE_MAGIC || r->other_kind;
    } else {
        snprintf(f->error, sizeof f->error, "damaged at %s: expected %s", place,
                 why != NULL ? why : "something else");
    }
    return -1;
}

static int fail_io(struct flow *f, int fault)
{
    snprintf(f->error, sizeof f->error, "cannot keep a large item in a temporary file: %s", strerror(fault));
    f->cannot = true;
    return -1;
}

/* Parse n bytes that begin at f->offset. *used, *need: for the rest. */
static int consume(struct flow *f, const uint8_t *p, uint64_t n, uint64_t *used, uint64_t *need)
{
    struct rdb *r = &f->rdb;
    struct cur c = {p, p + n, 0, NULL};
    r->crc_from = p;
    enum got g = parse(f, &c);
    /* Dragonfly writes no checksums. */
    if (rdb_of_redis(r) && r->stage != STAGE_DONE && r->stage != STAGE_JOURNAL)
        r->crc = crc64(r->crc, p, (size_t)(c.p - p));
    *used = (uint64_t)(c.p - p);
    f->offset = r->offset += *used;
    *need = g == NEED ? (n - *used) + c.want : 0;
    if (g != BAD)
        return 0;
    int fault = r->unpacked.fault != 0 ? r->unpacked.fault : scratch_fault(&f->to.s);
    return fault != 0 && !f->journal.full ? fail_io(f, fault) : fail(f, f->offset, c.why);
}

int flow_feed(struct flow *f, struct emit *e, const uint8_t *p, size_t n, uint64_t pos, uint64_t time_us)
{
    uint64_t used, need;
    if (pos != f->offset + f->carry.len)
        return fail(f, f->offset + f->carry.len, "the next byte of the flow (records are missing)");
    f->to.e = e;
    f->to.o.time = time_us;
    if (f->carry.len == 0) { /* straight from the record */
        if (consume(f, p, n, &used, &need) < 0)
            return -1;
        f->carry.need = need;
        if (used < n && carry_add(&f->carry, p + used, n - used) < 0)
            return fail_io(f, errno);
        return 0;
    }
    if (carry_add(&f->carry, p, n) < 0)
        return fail_io(f, errno);
    if (f->carry.len < f->carry.need)
        return 0;
    const uint8_t *all = carry_bytes(&f->carry);
    if (all == NULL)
        return fail_io(f, errno);
    e->pages = (struct pages){f->carry.map, f->carry.mapped};
    f->to.s.pages = &e->pages;
    int rc = consume(f, all, f->carry.len, &used, &need);
    e->pages.p = NULL;
    if (rc < 0)
        return -1;
    return carry_keep(&f->carry, used, need) < 0 ? fail_io(f, errno) : 0;
}

/* The last n bytes of the last file are left out. */
static void say_cut(struct flow *f, uint64_t n)
{
    char place[160], text[320];
    where(f, f->offset, place, sizeof place);
    snprintf(text, sizeof text,
             "the last %llu bytes, from %s on, are a part of a command or of a transaction",
             (unsigned long long)n, place);
    log_event(LOG_WARN, f->to.o.flow, "event=truncated_tail_left_out note=%s", log_quote(text, strlen(text)));
    emit_report(f->to.e, &f->to.o, false, "truncated-tail", (const uint8_t *)"", 0, text);
}

/* Of an append-only file: its commands end here, and what is left of the last is dropped or refused. */
static int end_commands(struct flow *f)
{
    bool cut;
    const uint8_t *p = carry_bytes(&f->carry);
    uint64_t n = f->carry.len;
    if (n > 0 && p == NULL)
        return fail_io(f, errno);
    const char *why = aof_end(&f->aof, p, n, &cut);
    if (why != NULL)
        return fail(f, f->offset, why);
    if (cut)
        say_cut(f, n);
    f->offset = f->rdb.offset += n;
    return carry_keep(&f->carry, n, 0) < 0 ? fail_io(f, errno) : 0;
}

int flow_settle(struct flow *f)
{
    if (!f->aof.on || f->psync.multi != 0)
        return 0;
    return settle_expiries(f) < 0 ? fail_io(f, errno) : 0;
}

/* What was begun of a snapshot, or of what is none, is not all there. */
static bool in_snapshot(const struct flow *f)
{
    return f->rdb.stage != STAGE_JOURNAL && (f->rdb.stage != STAGE_MAGIC || f->carry.len > 0);
}

int flow_file(struct flow *f, const struct aof_file *file)
{
    bool first = !f->aof.known;
    if (!first && in_snapshot(f))
        return fail(f, f->offset + f->carry.len, "more: the snapshot has no end");
    if (!first && end_commands(f) < 0)
        return -1;
    aof_next(&f->aof, file, f->offset);
    if (!f->aof.on)
        return 0;
    if (first)
        rdb_append_only(&f->rdb);
    else if (f->rdb.stage == STAGE_MAGIC) /* the first was empty */
        rdb_file_end(&f->rdb);
    psync_select(&f->psync, 0);
    return 0;
}

int flow_end(struct flow *f, bool requested)
{
    enum rdb_stage stage = f->rdb.stage;
    bool between = f->carry.len == 0 && rdb_between(&f->rdb) && !f->to.in_multi;
    if (f->aof.on && !requested && !in_snapshot(f)) {
        if (stage == STAGE_MAGIC) /* all files were empty */
            rdb_file_end(&f->rdb);
        return end_commands(f);
    }
    if (requested || stage == STAGE_DONE || (stage == STAGE_JOURNAL && between))
        return 0;
    return fail(f, f->offset + f->carry.len,
                f->rdb.file ? "more: the snapshot has no end" : "more: the flow was cut short");
}
