/* One flow of a Dragonfly master: DFLY FLOW, then raw bytes, and acknowledgements the other way.
 * dragonfly-replication(7). */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dragonfly.h"
#include "exits.h"

#define RCVBUF ((int)4 << 20)

/* Where flow->conn points to. */
struct dragonfly_flow {
    struct conn conn;
    bool auth; /* the reply to AUTH is awaited */
    bool raw;  /* the reply to DFLY FLOW is here, and was the last */
};

const struct conn *dragonfly_flow_conn(const struct flow *f)
{
    const struct dragonfly_flow *d = f->conn;
    return d != NULL && d->conn.open ? &d->conn : NULL;
}

void dragonfly_flow_close(struct flow *f)
{
    struct dragonfly_flow *d = f->conn;
    if (d == NULL)
        return;
    conn_close(&d->conn);
    free(d);
    f->conn = NULL;
}

/* The connection broke (errno). */
static void lose(struct flow *f)
{
    const struct dragonfly_flow *d = f->conn;
    struct fault why;
    conn_fault(&d->conn, &why);
    flow_lost(f, &why);
}

/* A cascaded replica knows them by the topmost master, a promoted one by its former master. */
const char *dragonfly_foreign_id(const struct lineage *saved, const struct lineage *now)
{
    if (strcmp(saved->replid, now->replid) == 0)
        return NULL;
    bool same_top = strlen(saved->top) == REPLID_LEN && strcmp(saved->top, now->top) == 0;
    return same_top ? saved->top : saved->replid;
}

static int ask(struct flow *f)
{
    struct dragonfly_flow *d = f->conn;
    const struct sessinfo *info = &f->stream->info;
    char id[16], lsn[24];
    snprintf(id, sizeof id, "%u", f->id);
    snprintf(lsn, sizeof lsn, "%llu", (unsigned long long)f->from.pos);
    const char *args[7] = {"DFLY", "FLOW", info->lineage.replid, info->session, id, lsn};
    int n = f->from.pos > 0 ? 6 : 5;
    const char *last = f->from.pos > 0 ? dragonfly_foreign_id(f->from.lineage, &info->lineage) : NULL;
    if (last != NULL) {
        args[5] = last;
        args[6] = f->from.vector;
        n = 7;
    }
    d->auth = false;
    return conn_request(&d->conn, n, args);
}

/* A reply of the handshake. Returns 0 to go on, -1 with why. */
static int take_reply(struct flow *f, struct fault *why)
{
    struct dragonfly_flow *d = f->conn;
    const struct reply *r = &d->conn.reply;
    if (d->auth) {
        if (!reply_is(r, "OK")) {
            fault_reply(why, "AUTH", r);
            return -1;
        }
        if (ask(f) == 0)
            return 0;
        conn_fault(&d->conn, why);
        return -1;
    }
    if (handshake_flow(r, f->from.pos > 0, &f->partial, f->token, why) < 0) {
        /* That the session is over, or nobody is let in now, says nothing about the LSN. */
        f->refused = f->from.pos > 0 && r->top.type == REDIS_REPLY_ERROR && why->status != EXIT_RETRY;
        return -1;
    }
    f->early = f->partial;
    if (f->partial && conn_raw(&d->conn, NULL, 0) > 0) {
        fault_set(why, EXIT_RETRY, "DFLY FLOW: bytes of a partial sync before it was started");
        return -1;
    }
    d->raw = f->partial;
    flow_up(f);
    return 0;
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct flow *f = w->ctx;
    struct dragonfly_flow *d = f->conn;
    struct fault why = {.status = 0};
    if (conn_events(&d->conn, events) < 0) {
        lose(f);
        return;
    }
    while (f->state == FLOW_OPENING && d->conn.readable) {
        int rc = conn_reply(&d->conn, &why);
        if (rc == 0)
            return;
        if (rc < 0 || take_reply(f, &why) < 0) {
            flow_lost(f, &why);
            return;
        }
    }
}

void dragonfly_flow_open(struct flow *f)
{
    const struct dragonfly *master = dragonfly_of(f->stream->source);
    const struct options *o = f->stream->o;
    struct dragonfly_flow *d = xcalloc(1, sizeof *d);
    struct fault why;
    f->conn = d;
    d->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = f};
    int opened = master->conn.open ? conn_open_like(&d->conn, &f->stream->loop, &master->conn, RCVBUF, &why)
                                   : conn_open(&d->conn, &f->stream->loop, &o->url, o->connect_timeout * 1000,
                                               RCVBUF, &why);
    if (opened < 0) {
        if (why.status == EXIT_CANNOT)
            why.status = EXIT_RETRY; /* the control connection went through: it is not the environment */
        flow_lost(f, &why);
        return;
    }
    int rc = conn_auth(&d->conn, &o->url);
    d->auth = rc > 0;
    if (rc == 0)
        rc = ask(f);
    if (rc < 0)
        lose(f);
}

bool dragonfly_flow_readable(const struct flow *f)
{
    const struct dragonfly_flow *d = f->conn;
    return d->conn.readable;
}

long dragonfly_flow_read(struct flow *f, uint8_t *to, size_t cap)
{
    struct dragonfly_flow *d = f->conn;
    long n = 0;
    if (!d->raw) { /* bytes that came in one read with the reply are the first of the flow. Spec pitfall 33.
                    */
        d->raw = true;
        n = (long)conn_raw(&d->conn, to, cap);
    }
    if (n == 0)
        n = conn_read(&d->conn, to, cap);
    if (n >= 0)
        return n;
    lose(f);
    return 0;
}

int dragonfly_flow_acknowledge(struct flow *f, uint64_t pos)
{
    struct dragonfly_flow *d = f->conn;
    char number[24];
    if (d->conn.out.len > 0) /* of positions the newest wins: it can wait */
        return 0;
    snprintf(number, sizeof number, "%llu", (unsigned long long)pos);
    const char *const args[] = {"REPLCONF", "ACK", number};
    if (conn_request(&d->conn, 3, args) == 0)
        return 1;
    lose(f);
    return -1;
}

void dragonfly_flow_finish(struct flow *f)
{
    struct dragonfly_flow *d = f->conn;
    d->conn.t.finish(&d->conn.t);
}
