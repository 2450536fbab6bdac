#include "line.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "io.h"
#include "resp.h"

static const struct wire_calls calls;

void line_init(struct line *l, size_t ring, uint32_t units, uint64_t *bytes_out)
{
    STAILQ_INIT(&l->safe);
    l->cap = units;
    l->unit = xcalloc(units, sizeof *l->unit);
    wire_init(&l->wire, ring, &calls, l, bytes_out);
}

void line_free(struct line *l)
{
    wire_free(&l->wire);
    free(l->unit);
}

void line_lose(struct line *l, const char *fmt, ...)
{
    if (l->lost)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->why, sizeof l->why, fmt, ap);
    va_end(ap);
    l->lost = true;
    l->calls->lost(l->conn);
}

bool line_expects(struct line *l, const redisReply *r, unsigned types, const char *what)
{
    if (r->type == REDIS_REPLY_ERROR || (REPLY_BIT(r->type) & types) != 0)
        return true;
    line_lose(l, "%s: unexpected reply", what);
    return false;
}

/* ---- bytes out ---- */

struct cunit *line_append(struct line *l, const void *bytes, size_t len)
{
    if (l->un == l->replied)
        wire_heard(&l->wire, mono_us()); /* from now on an answer is due */
    l->since_select++;
    ring_add(&l->wire.ring, bytes, len);
    struct cunit *u = &l->unit[(l->uhead + l->un++) & (l->cap - 1)];
    *u = (struct cunit){.len = (uint32_t)len};
    return u;
}

void line_add(struct line *l, const struct cunit *u, const void *bytes, size_t len)
{
    struct cunit *to = line_append(l, bytes, len);
    *to = *u;
    to->len = (uint32_t)len;
}

void line_more(struct line *l, const void *bytes, size_t len)
{
    ring_add(&l->wire.ring, bytes, len);
    l->unit[(l->uhead + l->un - 1) & (l->cap - 1)].len += (uint32_t)len;
}

void line_asking(struct line *l)
{
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    struct cunit skip = {.kind = CU_SKIP};
    line_add(l, &skip, asking, sizeof asking - 1);
}

void line_call_most(struct line *l, call_fn *fn, void *arg, const void *request, size_t len, size_t most)
{
    struct cunit u = {.kind = CU_CALL, .fn = fn, .arg = arg, .mark = most};
    line_add(l, &u, request, len);
}

void line_call_raw(struct line *l, call_fn *fn, void *arg, const void *request, size_t len)
{
    line_call_most(l, fn, arg, request, len, REPLY_BUILT);
}

/* A request of these words, which end with NULL. */
static void add_words(struct line *l, const struct cunit *u, va_list ap)
{
    struct buf b = {.max = 4096};
    const char *argv[16];
    unsigned argc = 0;
    for (const char *s; argc < 16 && (s = va_arg(ap, const char *)) != NULL;)
        argv[argc++] = s;
    (void)resp_add_array(&b, argc);
    for (unsigned i = 0; i < argc; i++)
        (void)resp_add_str(&b, argv[i]);
    line_add(l, u, b.p, b.len);
    explicit_bzero(b.p, b.len); /* it may hold the password */
    buf_free(&b);
}

void line_call(struct line *l, call_fn *fn, void *arg, ...)
{
    struct cunit u = {.kind = CU_CALL, .fn = fn, .arg = arg, .mark = REPLY_BUILT};
    va_list ap;
    va_start(ap, arg);
    add_words(l, &u, ap);
    va_end(ap);
}

void line_ask(struct line *l, step_fn *fn, ...)
{
    struct cunit u = {.kind = CU_CALL, .flags = CF_STEP, .step = fn, .mark = REPLY_BUILT};
    va_list ap;
    va_start(ap, fn);
    add_words(l, &u, ap);
    va_end(ap);
}

/* Bytes of the ring that may go: what came behind a big request has to wait for its end. */
static size_t sendable(const struct line *l)
{
    return l->big.calls != NULL ? (size_t)(l->big_at - l->wire.ring.sent) : ring_unsent(&l->wire.ring);
}

void line_send(struct line *l)
{
    size_t done;
    if (l->lost || l->state < CONN_HELLO)
        return;
    l->wire.want_out = false;
    const uint8_t *p;
    size_t n;
    do {
        if (!wire_send(&l->wire, sendable(l)))
            return;
        while (l->big.calls != NULL && l->big.calls->bytes(l->big.arg, &p, &n)) {
            if (!wire_write(&l->wire, p, n, &done))
                return;
            l->wire.answered = l->wire.heard; /* no answer is due before all of it went */
            l->big.calls->sent(l->big.arg, done);
        }
    } while (sendable(l) > 0); /* what came behind it */
}

/* ---- replies in ---- */

static void pop(struct line *l)
{
    for (; l->replied > 0; l->replied--) {
        const struct cunit *u = &l->unit[l->uhead];
        uint32_t len = u->len;
        if (u->kind != CU_GONE && u->calls != NULL && u->calls->confirmed != NULL)
            u->calls->confirmed(l->conn, u);
        l->uhead = (l->uhead + 1) & (l->cap - 1);
        l->un--;
        l->replied_bytes -= len;
        ring_ack(&l->wire.ring, len);
        if (l->wire.ring.tail == 0) /* it begins anew */
            l->big_at = 0;
    }
    l->probing &= l->un > 0;
}

void line_release(struct line *l)
{
    if (l->held == 0)
        pop(l);
    else if (l->patience.until == 0)
        l->calls->held(l->conn);
}

static void tell(struct line *l, const struct cunit *u, const redisReply *r)
{
    if ((u->flags & CF_STEP) != 0)
        l->calls->step(l->conn, u->step, r);
    else
        u->fn(l, u->arg, r);
}

/* The reply of the unit cost the connection: a record's request counts as one that was not answered. */
static void strange(struct line *l, const struct cunit *u)
{
    if (u->kind == CU_ONE || u->kind == CU_EXEC) {
        l->replied--;
        l->replied_bytes -= u->len;
    }
    l->misled |= u->kind == CU_CALL;
}

static void answered(struct line *l, struct cunit *u, const redisReply *r)
{
    bool done = false;
    if (u->kind == CU_QUEUED && u->mark > 1) { /* others of the unit are to come */
        u->mark--;
        (void)u->calls->reply(l->conn, u, NULL);
        return;
    }
    if (l->wire.ring.sent < l->wire.ring.acked + l->replied_bytes + u->len &&
        (r != NULL ? r->type : l->wire.reply_type) != REDIS_REPLY_ERROR) {
        line_lose(l, "a reply to half a request"); /* not counted: it is lost with the others */
        return;
    }
    l->replied++;
    l->replied_bytes += u->len;
    if (u->kind == CU_CALL)
        tell(l, u, r);
    else if (u->calls != NULL)
        done = u->calls->reply(l->conn, u,
                               ring_at(&l->wire.ring, l->wire.ring.acked + l->replied_bytes - u->len));
    else if (l->wire.reply_type != REDIS_REPLY_STATUS) /* ASKING */
        line_lose(l, "ASKING: %s",
                  l->wire.reply_type == REDIS_REPLY_ERROR ? l->wire.err : "unexpected reply");
    if (l->lost)
        strange(l, u);
    if (done && l->patience.since != 0)
        l->calls->goes_on(l->conn);
    if (done && l->waits) {
        l->held++;
        l->since_wait++;
    }
    if (!l->lost)
        line_release(l);
}

/* The unit whose reply is due: NULL: there is none of which anything has been sent. */
static struct cunit *awaited(const struct line *l)
{
    struct cunit *u = &l->unit[(l->uhead + l->replied) & (l->cap - 1)];
    bool sent =
        l->un > l->replied && (l->wire.ring.sent > l->wire.ring.acked + l->replied_bytes || u->len == 0);
    return sent ? u : NULL;
}

/* Replies to records are only looked at, those to our own requests are built.
 */
static bool on_due(void *owner, bool *build, size_t *most)
{
    const struct line *l = owner;
    const struct cunit *u = awaited(l);
    if (u == NULL)
        return false;
    *build = u->kind == CU_CALL;
    if (*build)
        *most = (size_t)u->mark;
    return true;
}

static void on_element(void *owner, int at, int type, const char *text, size_t len, long long number)
{
    struct line *l = owner;
    const struct cunit *u = awaited(l);
    if (u != NULL && u->calls != NULL && u->calls->element != NULL)
        u->calls->element(u, at, type, text, len, number);
}

static bool on_reply(void *owner, redisReply *built)
{
    static char text[] = "ERR the reply is too large";
    redisReply large = {.type = REDIS_REPLY_ERROR, .str = text, .len = sizeof text - 1};
    struct line *l = owner;
    l->spoke = true;
    answered(l, awaited(l), built != NULL && l->wire.in.cut ? &large : built);
    return !l->lost;
}

static bool on_status(void *owner)
{
    struct line *l = owner;
    struct cunit *u = awaited(l);
    l->spoke = true;
    if (u == NULL) {
        line_lose(l, "a reply that nobody asked for");
    } else if (u->kind == CU_CALL) {
        redisReply built = {.type = REDIS_REPLY_STATUS, .str = l->wire.err, .len = l->wire.errlen};
        answered(l, u, &built);
    } else {
        answered(l, u, NULL);
    }
    return !l->lost;
}

static void on_lose(void *owner, const char *why)
{
    struct line *l = owner;
    l->calls->broken(l->conn, why);
}

static const struct wire_calls calls = {
    .due = on_due, .element = on_element, .reply = on_reply, .status = on_status, .lose = on_lose};

void line_receive(struct line *l)
{
    if (!l->lost)
        wire_receive(&l->wire);
}

/* ---- losing ---- */

unsigned line_sent(const struct line *l, unsigned *ours)
{
    uint64_t at = l->wire.ring.acked + l->replied_bytes;
    unsigned n = 0;
    bool begun = false;
    *ours = 0;
    for (uint32_t i = l->replied;
         i < l->un && (at < l->wire.ring.sent || l->unit[(l->uhead + i) & (l->cap - 1)].len == 0); i++) {
        const struct cunit *u = &l->unit[(l->uhead + i) & (l->cap - 1)];
        begun = u->kind == CU_QUEUED || (begun && u->kind != CU_EXEC);
        *ours += u->kind == CU_CALL;
        n += u->kind != CU_SKIP && u->kind != CU_QUEUED;
        at += u->len;
    }
    return n + begun;
}

void line_give_back(struct line *l)
{
    uint64_t at = l->wire.ring.acked;
    bool begun = false; /* MULTI of the bundle was sent */
    for (uint32_t i = 0; i < l->un; i++) {
        struct cunit *u = &l->unit[(l->uhead + i) & (l->cap - 1)];
        const uint8_t *bytes = ring_at(&l->wire.ring, at);
        struct unit_loss how = {.sent = at < l->wire.ring.sent, .answered = i < l->replied};
        how.begun = begun || how.sent; /* what stood before it may have been answered */
        begun = u->kind == CU_QUEUED && how.sent;
        if (u->kind == CU_CALL && !how.answered)
            tell(l, u, NULL);
        else if (u->kind != CU_GONE && u->calls != NULL && u->calls->lost != NULL)
            u->calls->lost(l->conn, u, bytes, &how);
        at += u->len;
    }
}

void line_reset(struct line *l)
{
    l->state = CONN_DOWN;
    replies_close(&l->wire.in);
    l->wire.ring.acked = l->wire.ring.sent = l->wire.ring.tail = 0;
    l->uhead = l->un = l->replied = 0;
    l->replied_bytes = 0;
    l->selecting = l->awaited = l->probing = l->misled = l->blameless = false;
    l->big = (struct cunit){.kind = 0};
    l->patience = (struct patience){0};
}
