/* The handshake of a flow: up to the bytes of its file, or of its stream. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "psync.h"
#include "psync_flow.h"
#include "psync_reply.h"

#define RCVBUF      ((int)4 << 20)
#define TRY_SECONDS 3 /* that a further try may take, in which nothing else is done */

/* To a Valkey from 9 on: what its files may be written as. Without it such a master gives up the transfer of
 * hashes whose fields expire. */
#define ANNOUNCED_VERSION "9.0.0"

/* ---- requests ---- */

/* Behind the last byte that came, which may lie within a command. */
static int ask_psync(struct flow *f)
{
    struct psync_flow *d = f->conn;
    char next[24] = "-1";
    const char *args[3] = {"PSYNC", "?", next};
    bool goes_on = d->begun || f->from.pos > 0;
    uint64_t offset = d->begun ? d->scan.offset : goes_on ? psync_offset(f->from.pos) : 0;
    if (goes_on) {
        args[1] = d->begun ? d->lineage.replid : f->from.lineage->replid;
        snprintf(next, sizeof next, "%llu", (unsigned long long)offset + 1);
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
    static const char *const names[] = {
        [STATE_AUTH] = "AUTH", [STATE_CAPA] = "REPLCONF capa", [STATE_VERSION] = "REPLCONF version"};
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
    psync_flow_begin(d, d->applied);
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

/* The answer where the stream goes on: anything else but that ends the session, and what follows from that is
 * decided by the next one. */
static int take_again(struct flow *f, enum psync_line kind, const struct psync_line_value *v,
                      struct fault *why)
{
    struct psync_flow *d = f->conn;
    if (kind == PSYNC_CONTINUE) {
        psync_again_done(f, v->replid);
        return 0;
    }
    if (kind == PSYNC_FULL)
        fault_set(why, EXIT_RETRY, "the source cannot go on behind offset %llu, and offers a full sync",
                  (unsigned long long)d->scan.offset);
    else
        fault_set(why, EXIT_RETRY, "PSYNC: unexpected answer %s", log_quote(v->text, strlen(v->text)));
    d->refused = true;
    return -1;
}

/* A line that answers PSYNC. Returns 0, or -1 with why. */
static int take_line(struct flow *f, enum psync_line kind, const struct psync_line_value *v,
                     struct fault *why)
{
    const struct psync_flow *d = f->conn;
    bool first = d->state == STATE_ANSWER;
    if (kind == PSYNC_NEWLINE)
        return 0;
    if (kind == PSYNC_ERROR) {
        psync_refused(why, "PSYNC", v->text);
        return -1;
    }
    if (d->begun)
        return take_again(f, kind, v, why);
    switch (kind) {
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

/* Are lines awaited? Not where the session has to decide what becomes of them. */
static bool opening(const struct flow *f)
{
    const struct psync_flow *d = f->conn;
    return d != NULL && d->conn.open && d->state < STATE_SIZED && (f->state == FLOW_OPENING || d->begun);
}

/* The lines that have come. Returns 0, or -1 with why. */
static int take_lines(struct flow *f, struct fault *why)
{
    struct psync_line_value v;
    size_t used;
    while (opening(f)) {
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
        psync_flow_broke(f);
        return;
    }
    while (opening(f) && d->conn.readable) {
        d->heard_at = mono_us();
        int rc = read_opening(f, &why);
        if (rc < 0)
            psync_flow_fail(f, &why);
        if (rc <= 0)
            return;
    }
}

/* ---- connecting ---- */

void psync_flow_begin(struct psync_flow *d, uint64_t offset)
{
    d->state = STATE_STREAM;
    d->begun = true;
    psync_scan_begin(&d->scan, offset);
}

/* Connect, within timeout_ms where that has to wait, and begin the handshake. Returns 0, or -1 with why. */
static int connect_flow(struct flow *f, int timeout_ms, struct fault *why)
{
    struct psync_flow *d = f->conn;
    struct psync_server where;
    d->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = f};
    d->state = STATE_AUTH;
    d->heard_at = d->told_at = mono_us();
    server_of(f, &where);
    int rc = where.like != NULL ? conn_open_like(&d->conn, &f->stream->loop, where.like, RCVBUF, why)
                                : conn_open(&d->conn, &f->stream->loop, where.at, timeout_ms, RCVBUF, why);
    if (rc < 0)
        return -1;
    rc = conn_auth(&d->conn, where.at);
    if (rc == 0)
        rc = ask(f);
    if (rc < 0)
        conn_fault(&d->conn, why);
    return rc < 0 ? -1 : 0;
}

void psync_flow_open(struct flow *f)
{
    struct psync_flow *d = xcalloc(1, sizeof *d);
    struct fault why;
    d->exact = f->stream->o->acknowledge == ACK_EXACT;
    f->conn = d;
    if (connect_flow(f, f->stream->o->connect_timeout * 1000, &why) == 0)
        return;
    if (why.status == EXIT_CANNOT)
        why.status = EXIT_RETRY; /* the control connection went through: it is not the environment */
    flow_lost(f, &why);
}

void psync_flow_fail(struct flow *f, const struct fault *why)
{
    struct fault other = *why;
    if (!psync_again(f, why, &other))
        flow_lost(f, &other);
}

void psync_flow_broke(struct flow *f)
{
    const struct psync_flow *d = f->conn;
    struct fault why;
    conn_fault(&d->conn, &why);
    psync_flow_fail(f, &why);
}

void psync_flow_retry(struct flow *f, uint64_t now)
{
    struct psync_flow *d = f->conn;
    struct psync_server where;
    struct fault why;
    server_of(f, &where);
    if (where.wait || !retry_due(&d->retry, now))
        return;
    int limit = f->stream->o->connect_timeout < TRY_SECONDS ? f->stream->o->connect_timeout : TRY_SECONDS;
    if (connect_flow(f, limit * 1000, &why) < 0)
        psync_flow_fail(f, &why);
}

void psync_flow_move(struct flow *f, const struct fault *why)
{
    const struct psync_flow *d = f->conn;
    if (d != NULL && d->state != STATE_DOWN)
        psync_flow_fail(f, why);
}
