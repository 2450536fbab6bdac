/* The flow of a Redis or Valkey server: PSYNC, an RDB file, then commands; acknowledgements the other way. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "psync.h"
#include "psync_reply.h"
#include "psync_scan.h"
#include "psync_source.h"

#define RCVBUF ((int)4 << 20)
#define PIECE  ((size_t)4096)

/* To a Valkey from 9 on: what its files may be written as. Without it such a master gives up the transfer of
 * hashes whose fields expire. */
#define ANNOUNCED_VERSION "9.0.0"

enum psync_state {
    STATE_AUTH, /* the reply to that is awaited, as of the next two */
    STATE_CAPA,
    STATE_VERSION,
    STATE_ANSWER, /* PSYNC was sent: lines are awaited, that of where it begins ... */
    STATE_FORM,   /* ... and that of how the file comes */
    STATE_SIZED,  /* the file, so many bytes */
    STATE_MARKED, /* the file, up to the token */
    STATE_STREAM,
};

/* Where flow->conn points to. */
struct psync_flow {
    struct conn conn;
    enum psync_state state;
    struct lineage lineage;
    uint64_t file;           /* STATE_SIZED: bytes that are still to come */
    uint8_t tail[TOKEN_LEN]; /* STATE_MARKED: the last bytes */
    size_t ntail;
    struct psync_scan scan;
    uint8_t line[PIECE]; /* what came with the lines, and is not yet read */
    size_t at, have;
    uint64_t heard_at; /* mono_us */
    uint64_t told_at;  /* something was sent */
    uint64_t applied;  /* offset that the target has; only with any */
    bool any;
    bool owes;   /* somebody has asked for an acknowledgement that could not be given yet */
    bool broken; /* sending failed */
};

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

/* The connection broke (errno). */
static void lose(struct flow *f)
{
    const struct psync_flow *d = f->conn;
    struct fault why;
    conn_fault(&d->conn, &why);
    flow_lost(f, &why);
}

/* ---- to the master ---- */

/* Nobody may take us for a replica that can be promoted, if that was not asked for: then the last byte is
 * left out. dfreader(1), "What the source sees". */
static uint64_t to_acknowledge(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    if (!d->any)
        return 0;
    if (f->stream->o->acknowledge == ACK_EXACT || d->applied == 0)
        return d->applied;
    bool setslot = d->scan.setslot != 0 && d->applied >= d->scan.setslot;
    uint64_t behind = d->applied - 1;
    return setslot && d->scan.setslot > behind ? d->scan.setslot : behind;
}

static void acknowledge(struct flow *f)
{
    struct psync_flow *d = f->conn;
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)to_acknowledge(f));
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
    acknowledge(f);
    if (!d->broken)
        return 1;
    lose(f);
    return -1;
}

void psync_flow_finish(struct flow *f)
{
    struct psync_flow *d = f->conn;
    d->conn.t.finish(&d->conn.t);
}

/* What was asked for is applied now. */
static void pay(struct flow *f)
{
    struct psync_flow *d = f->conn;
    uint64_t wanted = d->scan.asked > d->scan.setslot ? d->scan.asked : d->scan.setslot;
    if (!d->owes || f->applied == 0 || psync_offset(f->applied) < wanted || d->conn.out.len > 0)
        return;
    d->applied = psync_offset(f->applied);
    d->any = true;
    d->owes = false;
    acknowledge(f);
}

/* ---- the handshake ---- */

static int ask_psync(struct flow *f)
{
    struct psync_flow *d = f->conn;
    char next[24] = "-1";
    const char *args[3] = {"PSYNC", "?", next};
    if (f->from.pos > 0) {
        args[1] = f->from.lineage->replid;
        snprintf(next, sizeof next, "%llu", (unsigned long long)psync_offset(f->from.pos) + 1);
    }
    d->state = STATE_ANSWER;
    return conn_request(&d->conn, 3, args);
}

static void server_of(struct flow *f, struct psync_server *where)
{
    ((struct psync_common *)f->stream->source)->server(f, where);
}

static int ask(struct flow *f)
{
    static const char *const capa[] = {"REPLCONF", "capa", "eof", "capa", "psync2"};
    static const char *const version[] = {"REPLCONF", "version", ANNOUNCED_VERSION};
    struct psync_flow *d = f->conn;
    struct psync_server where;
    switch (d->state) {
    case STATE_AUTH: d->state = STATE_CAPA; return conn_request(&d->conn, 5, capa);
    case STATE_CAPA:
        server_of(f, &where);
        if (psync_wants_version(where.version)) {
            d->state = STATE_VERSION;
            return conn_request(&d->conn, 3, version);
        }
        return ask_psync(f);
    default: return ask_psync(f);
    }
}

/* A reply of the handshake. Returns 0, or -1 with why. */
static int take_reply(struct flow *f, struct fault *why)
{
    static const char *const names[] = {"AUTH", "REPLCONF capa", "REPLCONF version"};
    struct psync_flow *d = f->conn;
    const struct item *top = &d->conn.reply.top;
    bool error = top->type == REDIS_REPLY_ERROR;
    /* Old servers do not know what is announced, and do without. */
    bool unknown = error && d->state != STATE_AUTH && strncasecmp(top->text, "ERR", 3) == 0;
    if (error && !unknown) {
        psync_refused(why, names[d->state], top->text);
        return -1;
    }
    if (ask(f) < 0) {
        conn_fault(&d->conn, why);
        return -1;
    }
    if (d->state == STATE_ANSWER) {
        d->have = conn_raw(&d->conn, d->line, sizeof d->line);
        d->at = 0;
    }
    return 0;
}

static void begin_stream(struct flow *f, uint64_t offset)
{
    struct psync_flow *d = f->conn;
    d->state = STATE_STREAM;
    psync_scan_begin(&d->scan, offset);
}

static int full(struct flow *f, const struct psync_line_value *v)
{
    struct psync_flow *d = f->conn;
    strlcpy(d->lineage.replid, v->replid, sizeof d->lineage.replid);
    if (f->member)
        strlcpy(d->lineage.top, v->replid, sizeof d->lineage.top);
    f->begins = psync_position(v->offset, 0);
    d->state = STATE_FORM;
    if (f->from.pos > 0 && !f->skips) /* it was to go on: the session decides, and this connection goes */
        flow_up(f);
    return 0;
}

static int go_on(struct flow *f, const struct psync_line_value *v, struct fault *why)
{
    struct psync_flow *d = f->conn;
    if (f->from.pos == 0) {
        fault_set(why, EXIT_RETRY, "PSYNC: the source goes on where nobody asked for that");
        return -1;
    }
    strlcpy(d->lineage.replid, v->replid[0] != '\0' ? v->replid : f->from.lineage->replid,
            sizeof d->lineage.replid);
    if (f->member)
        strlcpy(d->lineage.top, f->from.lineage->top, sizeof d->lineage.top);
    f->partial = true;
    d->applied = psync_offset(f->from.pos);
    d->any = true;
    begin_stream(f, d->applied);
    flow_up(f);
    return 0;
}

static int form(struct flow *f, enum psync_line kind, const struct psync_line_value *v)
{
    struct psync_flow *d = f->conn;
    if (kind == PSYNC_MARK)
        strlcpy(f->token, v->mark, sizeof f->token);
    d->state = kind == PSYNC_MARK ? STATE_MARKED : STATE_SIZED;
    d->file = v->size;
    if (f->skips) { /* from behind the file on */
        if (f->from.pos > 0)
            log_event(LOG_WARN, (int)f->id,
                      "event=flow_not_continued offset=%llu note=\"its slots are taken anew\"",
                      (unsigned long long)psync_offset(f->from.pos));
        f->from.pos = f->begins;
        f->from.lineage = &d->lineage;
        f->partial = true;
    }
    flow_up(f);
    return 0;
}

/* A line that answers PSYNC. Returns 0, or -1 with why. */
static int take_line(struct flow *f, enum psync_line kind, const struct psync_line_value *v,
                     struct fault *why)
{
    const struct psync_flow *d = f->conn;
    bool first = d->state == STATE_ANSWER;
    switch (kind) {
    case PSYNC_NEWLINE: return 0;
    case PSYNC_ERROR: psync_refused(why, "PSYNC", v->text); return -1;
    case PSYNC_FULL:
        if (v->offset > PSYNC_OFFSET_MAX) {
            fault_set(why, EXIT_CANNOT,
                      "PSYNC: no position can hold the source's offset %llu, of 2^54 or more",
                      (unsigned long long)v->offset);
            return -1;
        }
        if (first)
            return full(f, v);
        break;
    case PSYNC_CONTINUE:
        if (first)
            return go_on(f, v, why);
        break;
    case PSYNC_SIZE:
    case PSYNC_MARK:
        if (!first)
            return form(f, kind, v);
        break;
    default: break;
    }
    fault_set(why, EXIT_RETRY, "PSYNC: unexpected answer %s", log_quote(v->text, strlen(v->text)));
    return -1;
}

/* The lines that have come. Returns 0, or -1 with why. */
static int take_lines(struct flow *f, struct fault *why)
{
    struct psync_line_value v;
    size_t used;
    while (f->state == FLOW_OPENING) {
        struct psync_flow *d = f->conn;
        enum psync_line kind = psync_line(d->line + d->at, d->have, &used, &v);
        if (kind == PSYNC_MORE)
            return 0;
        d->at += used;
        d->have -= used;
        if (take_line(f, kind, &v, why) < 0)
            return -1;
    }
    return 0;
}

/* Read what has come while the flow is being opened. Returns 1, 0 nothing more now, -1 with why. */
static int read_opening(struct flow *f, struct fault *why)
{
    struct psync_flow *d = f->conn;
    if (d->state < STATE_ANSWER) {
        int rc = conn_reply(&d->conn, why);
        if (rc <= 0)
            return rc;
        return take_reply(f, why) < 0 || (d->state == STATE_ANSWER && take_lines(f, why) < 0) ? -1 : 1;
    }
    memmove(d->line, d->line + d->at, d->have);
    d->at = 0;
    long n = conn_read(&d->conn, d->line + d->have, sizeof d->line - d->have);
    if (n < 0)
        conn_fault(&d->conn, why);
    if (n <= 0)
        return (int)n;
    d->have += (size_t)n;
    return take_lines(f, why) < 0 ? -1 : 1;
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct flow *f = w->ctx;
    struct psync_flow *d = f->conn;
    struct fault why = {.status = 0};
    if (conn_events(&d->conn, events) < 0) {
        lose(f);
        return;
    }
    while (f->state == FLOW_OPENING && d->conn.readable) {
        d->heard_at = mono_us();
        int rc = read_opening(f, &why);
        if (rc < 0)
            flow_lost(f, &why);
        if (rc <= 0)
            return;
    }
}

void psync_flow_open(struct flow *f)
{
    const struct options *o = f->stream->o;
    struct psync_flow *d = xcalloc(1, sizeof *d);
    struct psync_server where;
    struct fault why;
    f->conn = d;
    d->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = f};
    d->heard_at = d->told_at = mono_us();
    server_of(f, &where);
    int opened = where.like != NULL ? conn_open_like(&d->conn, &f->stream->loop, where.like, RCVBUF, &why)
                                    : conn_open(&d->conn, &f->stream->loop, where.at,
                                                o->connect_timeout * 1000, RCVBUF, &why);
    if (opened < 0) {
        if (why.status == EXIT_CANNOT)
            why.status = EXIT_RETRY; /* the control connection went through: it is not the environment */
        flow_lost(f, &why);
        return;
    }
    int rc = conn_auth(&d->conn, where.at);
    if (rc == 0)
        rc = ask(f);
    if (rc < 0)
        lose(f);
}

/* ---- the bytes ---- */

/* The token, which may lie in two reads. Returns how many of the n bytes belong to the file. */
static size_t find_token(struct flow *f, const uint8_t *p, size_t n)
{
    struct psync_flow *d = f->conn;
    uint8_t seam[2 * TOKEN_LEN];
    size_t more = n < TOKEN_LEN - 1 ? n : TOKEN_LEN - 1;
    memcpy(seam, d->tail, d->ntail);
    memcpy(seam + d->ntail, p, more);
    const uint8_t *hit = memmem(seam, d->ntail + more, f->token, TOKEN_LEN);
    if (hit != NULL) {
        d->state = STATE_STREAM;
        return (size_t)(hit - seam) + TOKEN_LEN - d->ntail;
    }
    hit = memmem(p, n, f->token, TOKEN_LEN);
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
        mine = find_token(f, p, n);
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
    begin_stream(f, psync_offset(f->begins));
    acknowledge(f); /* behind a token nothing comes before that, however far the parser is */
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
        acknowledge(f);
    }
    return file;
}

bool psync_flow_readable(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    return d->have > 0 || d->conn.readable;
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
        lose(f);
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
static uint64_t patience(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    const struct options *o = f->stream->o;
    switch (d->state) {
    case STATE_SIZED:
    case STATE_MARKED: return 0;
    case STATE_AUTH:
    case STATE_CAPA:
    case STATE_VERSION: return (uint64_t)o->connect_timeout * US;
    default: return (uint64_t)o->ping_timeout * US;
    }
}

void psync_flow_turn(struct flow *f, uint64_t now)
{
    struct psync_flow *d = f->conn;
    struct fault why;
    if (d == NULL || (f->state != FLOW_OPENING && f->state != FLOW_UP))
        return;
    uint64_t limit = patience(f);
    if (d->broken) {
        lose(f);
    } else if (psync_flow_readable(f)) {
        d->heard_at = now; /* it is us who do not read */
    } else if (limit > 0 && us_since(now, d->heard_at) >= limit) {
        fault_set(&why, EXIT_RETRY, "the source has sent nothing for %llu seconds",
                  (unsigned long long)(limit / US));
        flow_lost(f, &why);
        return;
    }
    if (f->conn == NULL ||
        d->state < STATE_SIZED) /* the delay before a transfer begins anew with each byte */
        return;
    pay(f);
    if (us_since(now, d->told_at) < US || d->conn.out.len > 0)
        return;
    if (d->state == STATE_STREAM)
        acknowledge(f);
    else
        newline(d, now);
}
