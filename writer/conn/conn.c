#include "conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "../target/nodes.h"
#include "../engine/errors.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "../options.h"
#include "../summary.h"

static const struct wire_calls calls;

struct conn *conn_new(struct nodes *all, const struct conn_calls *owner, struct cnode *node, unsigned index,
                      size_t ring, uint32_t units)
{
    struct conn *c = xcalloc(1, sizeof *c);
    c->all = all;
    c->cl = all->cl;
    c->calls = owner;
    c->node = node;
    c->index = index;
    STAILQ_INIT(&c->safe);
    c->cap = units;
    wire_init(&c->wire, ring, &calls, c, &all->stats->bytes_out);
    c->unit = xcalloc(units, sizeof *c->unit);
    return c;
}

void conn_free(struct conn *c)
{
    wire_free(&c->wire);
    if (c->calls->free != NULL)
        c->calls->free(c);
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
    c->all->stir = true;
}

bool conn_expects(struct conn *c, const redisReply *r, unsigned types, const char *what)
{
    if (r->type == REDIS_REPLY_ERROR || (REPLY_BIT(r->type) & types) != 0)
        return true;
    conn_lose(c, "%s: unexpected reply", what);
    return false;
}

/* ---- bytes out ---- */

struct cunit *conn_append(struct conn *c, const void *bytes, size_t len)
{
    if (c->un == c->replied) {
        c->wire.unheard = 0;
        c->wire.heard = mono_us(); /* from now on an answer is due */
    }
    c->since_select++;
    ring_add(&c->wire.ring, bytes, len);
    struct cunit *u = &c->unit[(c->uhead + c->un++) & (c->cap - 1)];
    *u = (struct cunit){.len = (uint32_t)len};
    return u;
}

void conn_add(struct conn *c, const struct cunit *u, const void *bytes, size_t len)
{
    struct cunit *to = conn_append(c, bytes, len);
    *to = *u;
    to->len = (uint32_t)len;
}

void conn_more(struct conn *c, const void *bytes, size_t len)
{
    ring_add(&c->wire.ring, bytes, len);
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

/* Bytes of the ring that may go: what came behind a big request has to wait for its end. */
static size_t sendable(const struct conn *c)
{
    return c->big.calls != NULL ? (size_t)(c->big_at - c->wire.ring.sent) : ring_unsent(&c->wire.ring);
}

void conn_send(struct conn *c)
{
    size_t done;
    if (c->lost || c->state < CONN_HELLO)
        return;
    c->wire.want_out = false;
    const uint8_t *p;
    size_t n;
    do {
        if (!wire_send(&c->wire, sendable(c)))
            return;
        while (c->big.calls != NULL && c->big.calls->bytes(c->big.arg, &p, &n)) {
            if (!wire_write(&c->wire, p, n, &done))
                return;
            c->big.calls->sent(c->big.arg, done);
        }
    } while (sendable(c) > 0); /* what came behind it */
}

/* ---- refusals ---- */

void conn_pause(struct conn *c, const struct named *what, const char *text, size_t len)
{
    uint64_t now = mono_us();
    bool replica = len >= 9 && memcmp(text, "READONLY ", 9) == 0;
    error_count(&c->all->stats->refusals, text, len);
    if (replica && c->all->opt->url.sentinel) { /* they may know the master by now */
        c->blameless = true;
        conn_lose(c, "the server has become a replica");
        return;
    }
    c->explain |= replica && patience_says(&c->patience, now);
    patience_refused(&c->patience, c->all->slots ? cnode_name(c->node) : NULL, named_text(what), text, len,
                     now);
}

/* ---- replies in ---- */

static void pop(struct conn *c)
{
    for (; c->replied > 0; c->replied--) {
        const struct cunit *u = &c->unit[c->uhead];
        uint32_t len = u->len;
        if (u->kind != CU_GONE && u->calls != NULL && u->calls->confirmed != NULL)
            u->calls->confirmed(c, u);
        c->uhead = (c->uhead + 1) & (c->cap - 1);
        c->un--;
        c->replied_bytes -= len;
        ring_ack(&c->wire.ring, len);
        if (c->wire.ring.tail == 0) /* it begins anew */
            c->big_at = 0;
    }
    c->probing &= c->un > 0;
}

void conn_release(struct conn *c)
{
    if (c->held == 0)
        pop(c);
    else if (c->patience.until == 0 && c->calls->held != NULL)
        c->calls->held(c);
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

static void answered(struct conn *c, struct cunit *u, const redisReply *r)
{
    bool done = false;
    if (u->kind == CU_QUEUED && u->mark > 1) { /* others of the unit are to come */
        u->mark--;
        (void)u->calls->reply(c, u, NULL);
        return;
    }
    if (c->wire.ring.sent < c->wire.ring.acked + c->replied_bytes + u->len &&
        (r != NULL ? r->type : c->wire.reply_type) != REDIS_REPLY_ERROR) {
        conn_lose(c, "a reply to half a request"); /* not counted: it is lost with the others */
        return;
    }
    c->replied++;
    c->replied_bytes += u->len;
    if (u->kind == CU_CALL)
        u->fn(c, u->arg, r);
    else if (u->calls != NULL)
        done = u->calls->reply(c, u, ring_at(&c->wire.ring, c->wire.ring.acked + c->replied_bytes - u->len));
    else if (c->wire.reply_type != REDIS_REPLY_STATUS) /* ASKING */
        conn_lose(c, "ASKING: %s",
                  c->wire.reply_type == REDIS_REPLY_ERROR ? c->wire.err : "unexpected reply");
    if (c->lost)
        strange(c, u);
    if (done && c->patience.since != 0)
        patience_over(&c->patience, c->all->slots ? cnode_name(c->node) : NULL);
    if (done && c->all->opt->wait > 0) {
        c->held++;
        c->since_wait++;
    }
    if (!c->lost)
        conn_release(c);
}

/* The unit whose reply is due: NULL: there is none of which anything has been sent. */
static struct cunit *awaited(const struct conn *c)
{
    struct cunit *u = &c->unit[(c->uhead + c->replied) & (c->cap - 1)];
    bool sent = c->un > c->replied && (c->wire.ring.sent > c->wire.ring.acked + c->replied_bytes || u->len == 0);
    return sent ? u : NULL;
}

/* Replies to records are only looked at, those to our own requests are built.
 */
static bool on_due(void *owner, bool *build, size_t *most)
{
    const struct conn *c = owner;
    const struct cunit *u = awaited(c);
    if (u == NULL)
        return false;
    *build = u->kind == CU_CALL;
    if (*build)
        *most = (size_t)u->mark;
    return true;
}

static void on_element(void *owner, int at, int type, const char *text, size_t len, long long number)
{
    struct conn *c = owner;
    const struct cunit *u = awaited(c);
    if (u != NULL && u->calls != NULL && u->calls->element != NULL)
        u->calls->element(u, at, type, text, len, number);
}

static bool on_reply(void *owner, redisReply *built)
{
    static char text[] = "ERR the reply is too large";
    redisReply large = {.type = REDIS_REPLY_ERROR, .str = text, .len = sizeof text - 1};
    struct conn *c = owner;
    c->spoke = true;
    answered(c, awaited(c), built != NULL && c->wire.in.cut ? &large : built);
    return !c->lost;
}

static bool on_status(void *owner)
{
    struct conn *c = owner;
    struct cunit *u = awaited(c);
    c->spoke = true;
    if (u == NULL) {
        conn_lose(c, "a reply that nobody asked for");
    } else if (u->kind == CU_CALL) {
        redisReply built = {.type = REDIS_REPLY_STATUS, .str = c->wire.err, .len = c->wire.errlen};
        answered(c, u, &built);
    } else {
        answered(c, u, NULL);
    }
    return !c->lost;
}

static void on_lose(void *owner, const char *why)
{
    struct conn *c = owner;
    bool strange = !c->spoke && c->state == CONN_HELLO && strncmp(why, "malformed reply", 15) == 0;
    if (strange && c->all->tls == NULL) {
        c->loss = LOSS_FATAL;
        why = "the server does not answer in the Redis protocol: wrong port, or does it expect TLS "
              "(rediss://)?";
    }
    conn_lose(c, "%s", why);
}

static const struct wire_calls calls = {
    .due = on_due, .element = on_element, .reply = on_reply, .status = on_status, .lose = on_lose};

void conn_receive(struct conn *c)
{
    if (!c->lost)
        wire_receive(&c->wire);
}
