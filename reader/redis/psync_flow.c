/* The bytes of a flow of a Redis or Valkey server: an RDB file, then commands; acknowledgements the other
 * way. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "psync.h"
#include "psync_flow.h"

void psync_flow_close(struct flow *f)
{
    struct psync_flow *d = f->conn;
    if (d == NULL)
        return;
    conn_close(&d->conn);
    free(d);
    f->conn = NULL;
}

const struct lineage *psync_flow_lineage(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    return &d->lineage;
}

const struct conn *psync_flow_conn(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    return d != NULL && d->state == STATE_STREAM ? &d->conn : NULL;
}

/* ---- to the master ---- */

/* Nobody may take us for a replica that can be promoted, if that was not asked for: then the last byte is
 * left out. dfreader(1), "What the source sees". */
static uint64_t to_acknowledge(const struct psync_flow *d)
{
    if (!d->any)
        return 0;
    if (d->exact || d->applied == 0)
        return d->applied;
    bool setslot = d->scan.setslot != 0 && d->applied >= d->scan.setslot;
    uint64_t behind = d->applied - 1;
    return setslot && d->scan.setslot > behind ? d->scan.setslot : behind;
}

static void acknowledge(struct psync_flow *d)
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)to_acknowledge(d));
    const char *const args[] = {"REPLCONF", "ACK", number};
    d->told_at = mono_us();
    d->broken = d->broken || conn_request(&d->conn, 3, args) < 0;
}

/* What a replica that is loading its file sends. */
static void newline(struct psync_flow *d, uint64_t now)
{
    d->told_at = now;
    if (d->conn.out.len == 0 && (buf_add(&d->conn.out, "\n", 1) < 0 || conn_flush(&d->conn) < 0))
        d->broken = true;
}

int psync_flow_acknowledge(struct flow *f, uint64_t pos)
{
    struct psync_flow *d = f->conn;
    d->applied = psync_offset(pos);
    d->any = true;
    if (d->state != STATE_STREAM || d->conn.out.len > 0) /* of offsets the newest wins: it can wait */
        return 0;
    acknowledge(d);
    if (!d->broken)
        return 1;
    psync_flow_broke(f);
    return -1;
}

void psync_flow_finish(struct flow *f)
{
    struct psync_flow *d = f->conn;
    if (d->conn.open)
        d->conn.t.finish(&d->conn.t);
}

/* Is what was asked for applied now? applied: the position, 0: none. */
static void pay(struct psync_flow *d, uint64_t applied)
{
    uint64_t wanted = d->scan.asked > d->scan.setslot ? d->scan.asked : d->scan.setslot;
    if (!d->owes || applied == 0 || psync_offset(applied) < wanted || d->conn.out.len > 0)
        return;
    d->applied = psync_offset(applied);
    d->any = true;
    d->owes = false;
    acknowledge(d);
}

/* ---- the bytes ---- */

/* The token, which may lie in two reads. Returns how many of the n bytes belong to the file. */
static size_t find_token(struct psync_flow *d, const char *token, const uint8_t *p, size_t n)
{
    uint8_t seam[2 * TOKEN_LEN];
    size_t more = n < TOKEN_LEN - 1 ? n : TOKEN_LEN - 1;
    memcpy(seam, d->tail, d->ntail);
    memcpy(seam + d->ntail, p, more);
    const uint8_t *hit = memmem(seam, d->ntail + more, token, TOKEN_LEN);
    if (hit != NULL) {
        d->state = STATE_STREAM;
        return (size_t)(hit - seam) + TOKEN_LEN - d->ntail;
    }
    hit = memmem(p, n, token, TOKEN_LEN);
    if (hit != NULL) {
        d->state = STATE_STREAM;
        return (size_t)(hit - p) + TOKEN_LEN;
    }
    if (n >= TOKEN_LEN - 1) {
        memcpy(d->tail, p + n - (TOKEN_LEN - 1), TOKEN_LEN - 1);
        d->ntail = TOKEN_LEN - 1;
    } else {
        size_t all = d->ntail + n, keep = all < TOKEN_LEN - 1 ? all : TOKEN_LEN - 1;
        memmove(d->tail, seam + all - keep, keep);
        d->ntail = keep;
    }
    return n;
}

/* Bytes of the file. Returns how many of the n belong to it. */
static size_t take_file(struct flow *f, const uint8_t *p, size_t n)
{
    struct psync_flow *d = f->conn;
    size_t mine = n;
    if (d->state == STATE_MARKED) {
        mine = find_token(d, f->token, p, n);
    } else {
        mine = d->file < n ? (size_t)d->file : n;
        d->file -= mine;
        if (d->file == 0)
            d->state = STATE_STREAM;
    }
    if (d->state != STATE_STREAM)
        return mine;
    uint64_t bytes = f->bytes + mine;
    log_event(LOG_INFO, (int)f->id, "event=file_received bytes=%llu", (unsigned long long)bytes);
    psync_flow_begin(d, psync_offset(f->begins));
    acknowledge(d); /* behind a token nothing comes before that, however far the parser is */
    return mine;
}

/* Returns how many of the bytes belong to the file. */
static size_t take(struct flow *f, const uint8_t *p, size_t n)
{
    struct psync_flow *d = f->conn;
    d->heard_at = mono_us();
    size_t file = d->state == STATE_STREAM ? 0 : take_file(f, p, n);
    if (file < n)
        psync_scan(&d->scan, p + file, n - file);
    if (d->scan.asks) {
        d->scan.asks = false;
        d->owes = true;
        acknowledge(d);
    }
    return file;
}

bool psync_flow_readable(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    return d->state >= STATE_SIZED && (d->have > 0 || d->conn.readable);
}

long psync_flow_read(struct flow *f, uint8_t *to, size_t cap)
{
    struct psync_flow *d = f->conn;
    long n = (long)(d->have < cap ? d->have : cap);
    if (n > 0) {
        memcpy(to, d->line + d->at, (size_t)n);
        d->at += (size_t)n;
        d->have -= (size_t)n;
    } else {
        n = conn_read(&d->conn, to, cap);
    }
    if (n < 0) {
        psync_flow_broke(f);
        return 0;
    }
    size_t file = n > 0 ? take(f, to, (size_t)n) : 0;
    if (!f->skips || file == 0)
        return n;
    memmove(to, to + file, (size_t)n - file);
    return n - (long)file;
}

/* ---- in each turn ---- */

/* µs that the master may be silent; 0: the session looks after that. */
static uint64_t patience(const struct psync_flow *d, const struct options *o)
{
    switch (d->state) {
    case STATE_SIZED:
    case STATE_MARKED: return 0;
    case STATE_AUTH:
    case STATE_CAPA:
    case STATE_VERSION: return (uint64_t)o->connect_timeout * US;
    case STATE_ANSWER: return (uint64_t)(d->begun ? o->connect_timeout : o->ping_timeout) * US;
    default: return (uint64_t)o->ping_timeout * US;
    }
}

void psync_flow_turn(struct flow *f, uint64_t now)
{
    struct psync_flow *d = f->conn;
    struct fault why;
    if (d == NULL || (f->state != FLOW_OPENING && f->state != FLOW_UP))
        return;
    if (d->state == STATE_DOWN) {
        psync_flow_retry(f, now);
        return;
    }
    uint64_t limit = patience(d, f->stream->o);
    if (d->broken) {
        psync_flow_broke(f);
    } else if (psync_flow_readable(f)) {
        d->heard_at = now; /* it is us who do not read */
    } else if (limit > 0 && us_since(now, d->heard_at) >= limit) {
        fault_set(&why, EXIT_RETRY, "the source has sent nothing for %llu seconds",
                  (unsigned long long)(limit / US));
        psync_flow_fail(f, &why);
        return;
    }
    if (f->conn == NULL ||
        d->state < STATE_SIZED) /* the delay before a transfer begins anew with each byte */
        return;
    psync_again_settle(d, now);
    pay(d, f->applied);
    if (us_since(now, d->told_at) < US || d->conn.out.len > 0)
        return;
    if (d->state == STATE_STREAM)
        acknowledge(d);
    else
        newline(d, now);
}

void psync_watch_spool(struct psync_common *c, const struct output *out)
{
    bool full = output_spool_full(out);
    if (full && !c->slowed)
        log_event(LOG_WARN, NO_FLOW,
                  "event=source_not_read note=\"the source keeps what is to come, and cuts us off beyond its "
                  "client-output-buffer-limit\"");
    c->slowed = full;
}
