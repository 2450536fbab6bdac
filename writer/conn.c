#include "conn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "big.h"
#include "buf.h"
#include "bundle.h"
#include "cluster.h"
#include "errors.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "writer.h"

#define READ_STEP ((size_t)64 << 10)

struct conn *conn_new(struct writer *w, struct cnode *node, unsigned index, size_t ring, uint32_t units)
{
    struct conn *c = xcalloc(1, sizeof *c);
    c->w = w;
    c->node = node;
    c->index = index;
    c->t.fd = -1;
    STAILQ_INIT(&c->safe);
    c->cap = units;
    ring_init(&c->ring, ring);
    c->unit = xcalloc(units, sizeof *c->unit);
    return c;
}

void conn_free(struct conn *c)
{
    if (c->t.fd >= 0)
        c->t.close(&c->t);
    replies_close(&c->in);
    replicas_free(c);
    ring_free(&c->ring);
    free(c->unit);
    free(c);
}

void conn_lose(struct conn *c, const char *fmt, ...)
{
    if (c->lost)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->lost = true;
    c->w->cluster->stir = true;
}

bool conn_expects(struct conn *c, const redisReply *r, unsigned types, const char *what)
{
    if (r->type == REDIS_REPLY_ERROR || (REPLY_BIT(r->type) & types) != 0)
        return true;
    conn_lose(c, "%s: unexpected reply", what);
    return false;
}

/* ---- bytes out ---- */

void conn_add(struct conn *c, const struct cunit *u, const void *bytes, size_t len)
{
    if (c->un == c->replied) {
        c->unheard = 0;
        c->heard = mono_us(); /* from now on an answer is due */
    }
    ring_add(&c->ring, bytes, len);
    struct cunit *to = &c->unit[(c->uhead + c->un++) & (c->cap - 1)];
    *to = *u;
    to->len = (uint32_t)len;
}

void conn_more(struct conn *c, const void *bytes, size_t len)
{
    ring_add(&c->ring, bytes, len);
    c->unit[(c->uhead + c->un - 1) & (c->cap - 1)].len += (uint32_t)len;
}

void conn_asking(struct conn *c)
{
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    struct cunit skip = {.kind = CU_SKIP};
    conn_add(c, &skip, asking, sizeof asking - 1);
}

void conn_call_most(struct conn *c, call_fn *fn, void *arg, const void *request, size_t len, size_t most)
{
    struct cunit u = {.kind = CU_CALL, .fn = fn, .arg = arg, .mark = most};
    conn_add(c, &u, request, len);
}

void conn_call_raw(struct conn *c, call_fn *fn, void *arg, const void *request, size_t len)
{
    conn_call_most(c, fn, arg, request, len, REPLY_BUILT);
}

void conn_call(struct conn *c, call_fn *fn, void *arg, ...)
{
    struct buf b = {.max = 4096};
    const char *argv[16];
    unsigned argc = 0;
    va_list ap;
    va_start(ap, arg);
    for (const char *s; argc < 16 && (s = va_arg(ap, const char *)) != NULL;)
        argv[argc++] = s;
    va_end(ap);
    (void)resp_add_array(&b, argc);
    for (unsigned i = 0; i < argc; i++)
        (void)resp_add_str(&b, argv[i]);
    conn_call_raw(c, fn, arg, b.p, b.len);
    explicit_bzero(b.p, b.len); /* it may hold the password */
    buf_free(&b);
}

/* Returns false when the socket takes no more, or is gone. */
static bool write_some(struct conn *c, const uint8_t *p, size_t len, size_t *done)
{
    ssize_t k = c->t.write(&c->t, p, len);
    *done = k > 0 ? (size_t)k : 0;
    if (k >= 0) {
        c->w->stats.bytes_out += (uint64_t)k;
        c->heard = mono_us(); /* who takes bytes is there */
        return true;
    }
    if (errno == EINTR)
        return true;
    if (errno == EAGAIN) {
        c->want_out = true;
        return false;
    }
    char why[200];
    snprintf(why, sizeof why, "%s", transport_reason(&c->t));
    conn_receive(c); /* it may have said why before it closed */
    conn_lose(c, "writing: %s", why);
    return false;
}

/* Bytes of the ring that may go: what came behind a big request has to wait for its end. */
static size_t sendable(const struct conn *c)
{
    return c->big != NULL ? (size_t)(c->big_at - c->ring.sent) : ring_unsent(&c->ring);
}

void conn_send(struct conn *c)
{
    size_t done;
    if (c->lost || c->state < CONN_HELLO)
        return;
    c->want_out = false;
    const uint8_t *p;
    size_t n;
    do {
        while ((n = sendable(c)) > 0) {
            if (!write_some(c, ring_at(&c->ring, c->ring.sent), n, &done))
                return;
            c->ring.sent += done;
        }
        while (c->big != NULL && bigjob_bytes(c->big, &p, &n)) {
            if (!write_some(c, p, n, &done))
                return;
            bigjob_sent(c->big, done);
        }
    } while (sendable(c) > 0); /* what came behind it */
}

/* ---- refusals ---- */

void conn_pause(struct conn *c, const char *text, size_t len)
{
    uint64_t now = mono_us();
    error_count(&c->w->stats.refusals, text, len);
    patience_refused(&c->patience, cnode_name(c->node), "", text, len, now);
}

/* ---- replies in ---- */

static void pop(struct conn *c, uint32_t n)
{
    for (; n > 0; n--) {
        struct cunit *u = &c->unit[c->uhead];
        uint32_t len = u->len;
        if (u->kind == CU_ONE || u->kind == CU_EXEC)
            cluster_confirmed(c, u);
        c->uhead = (c->uhead + 1) & (c->cap - 1);
        c->un--;
        c->replied--;
        c->replied_bytes -= len;
        ring_ack(&c->ring, len);
    }
    c->probing &= c->un > 0;
}

void conn_release(struct conn *c)
{
    if (c->held == 0)
        pop(c, c->replied);
    else if (c->patience.until == 0)
        replicas_ask(c);
}

/* The reply of the unit cost the connection: a record's request counts as one that was not answered. */
static void strange(struct conn *c, const struct cunit *u)
{
    if (u->kind == CU_ONE || u->kind == CU_EXEC) {
        c->replied--;
        c->replied_bytes -= u->len;
    }
    c->misled |= u->kind == CU_CALL;
}

static void answered(struct conn *c, const redisReply *r)
{
    struct cunit *u = &c->unit[(c->uhead + c->replied) & (c->cap - 1)];
    bool done = false;
    if (u->kind == CU_QUEUED && u->mark > 1) { /* others of the unit are to come */
        u->mark--;
        bundle_queued(c, u);
        return;
    }
    if (c->ring.sent < c->ring.acked + c->replied_bytes + u->len &&
        (r != NULL ? r->type : c->reply_type) != REDIS_REPLY_ERROR) {
        conn_lose(c, "a reply to half a request"); /* not counted: it is lost with the others */
        return;
    }
    c->replied++;
    c->replied_bytes += u->len;
    switch (u->kind) {
    case CU_CALL: u->fn(c, u->arg, r); break;
    case CU_BIG: bigjob_reply(c, u->arg); break;
    case CU_SKIP:
        if (c->reply_type != REDIS_REPLY_STATUS)
            conn_lose(c, "ASKING: %s", c->reply_type == REDIS_REPLY_ERROR ? c->err : "unexpected reply");
        break;
    case CU_QUEUED: bundle_queued(c, u); break;
    case CU_EXEC:
        bundle_reply(c, u);
        done = u->kind == CU_EXEC && !c->lost;
        break;
    default:
        cluster_reply(c, u, ring_at(&c->ring, c->ring.acked + c->replied_bytes - u->len));
        done = u->kind == CU_ONE;
    }
    if (c->lost)
        strange(c, u);
    if (done && c->patience.since != 0)
        patience_over(&c->patience, cnode_name(c->node));
    if (done && c->w->opt.wait > 0) {
        c->held++;
        c->since_wait++;
    }
    if (!c->lost)
        conn_release(c);
}

/* Replies to records are only looked at; those to our own requests are built by hiredis. */
static char seen;

/* The unit whose reply is being read. */
static const struct cunit *awaited(const struct conn *c)
{
    return c->un > c->replied ? &c->unit[(c->uhead + c->replied) & (c->cap - 1)] : NULL;
}

/* A reply, or an element of the reply to a bundle's EXEC. text: NULL when it has none. */
static void look(const redisReadTask *t, int type, const char *text, size_t len)
{
    struct conn *c = replies_owner(t);
    const struct cunit *u = awaited(c);
    if (t->parent != NULL) {
        if (t->parent->parent == NULL && u != NULL && u->kind == CU_EXEC)
            bundle_element(u, t->idx, type, text, len);
        return;
    }
    c->reply_type = type;
    c->errlen = len < sizeof c->err - 1 ? len : sizeof c->err - 1;
    if (text != NULL)
        memcpy(c->err, text, c->errlen);
    c->err[c->errlen] = '\0';
}

static void *on_string(const redisReadTask *t, char *s, size_t len)
{
    look(t, t->type, s, len);
    return &seen;
}

static void *on_array(const redisReadTask *t, int elements)
{
    look(t, REDIS_REPLY_ARRAY, NULL, 0);
    if (t->parent == NULL)
        ((struct conn *)replies_owner(t))->reply_elements = elements;
    return &seen;
}

static void *on_integer(const redisReadTask *t, long long value)
{
    struct conn *c = replies_owner(t);
    const struct cunit *u = awaited(c);
    c->number = value;
    look(t, t->type, NULL, 0);
    if (t->parent != NULL && t->parent->parent == NULL && u != NULL && u->kind == CU_EXEC)
        bundle_integer(c->w, u, t->idx, value);
    return &seen;
}

static void *on_nil(const redisReadTask *t)
{
    look(t, REDIS_REPLY_NIL, NULL, 0); /* t->type is that of what is not there */
    return &seen;
}

static void on_free(void *reply)
{
    (void)reply;
}

redisReplyObjectFunctions conn_looks = {on_string, on_array, on_integer, on_nil, on_free};

/* Has anything of the unit whose reply is due been sent? */
static bool due(const struct conn *c, const struct cunit *u)
{
    return u != NULL && (c->ring.sent > c->ring.acked + c->replied_bytes || u->len == 0);
}

/* A reply, or a part of one, that nothing was sent for. */
static bool unasked(struct conn *c)
{
    void *reply;
    c->reply_type = 0;
    if (replies_next(&c->in, false, REPLY_STRING, &reply) == 1 && c->reply_type == REDIS_REPLY_ERROR)
        conn_lose(c, "the server says: %s", c->err);
    else
        conn_lose(c, "a reply that nobody asked for");
    return false;
}

static void answer_call(struct conn *c, redisReply *r)
{
    static char text[] = "ERR the reply is too large";
    redisReply large = {.type = REDIS_REPLY_ERROR, .str = text, .len = sizeof text - 1};
    answered(c, c->in.cut ? &large : r);
}

/* The next whole reply, acted on. False: none, or the connection is lost. */
static bool next_reply(struct conn *c)
{
    void *reply;
    const struct cunit *u = awaited(c);
    if (replies_idle(&c->in))
        return false;
    if (!due(c, u))
        return unasked(c);
    bool call = u->kind == CU_CALL;
    int got = replies_next(&c->in, call, call ? (size_t)u->mark : REPLY_STRING, &reply);
    if (got < 0)
        conn_lose(c, "malformed reply: %s", c->in.why);
    if (got <= 0)
        return false;
    c->heard = mono_us();
    c->unheard = 0;
    if (call)
        answer_call(c, reply);
    else
        answered(c, NULL);
    if (call)
        freeReplyObject(reply);
    return !c->lost;
}

void conn_receive(struct conn *c)
{
    static char in[READ_STEP];
    while (!c->lost) {
        ssize_t k = c->t.read(&c->t, in, sizeof in);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == EAGAIN)
            return;
        if (k <= 0) {
            conn_lose(c, "%s", k == 0 ? "closed by the server" : transport_reason(&c->t));
            return;
        }
        c->unheard += (size_t)k;
        if (c->unheard >= HEARD_STEP) {
            c->heard = mono_us();
            c->unheard = 0;
        }
        if (!replies_feed(&c->in, in, (size_t)k)) {
            conn_lose(c, "reply reader: %s", c->in.why);
            return;
        }
        while (next_reply(c))
            ;
    }
}
