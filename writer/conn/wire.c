#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hiredis_kind.h"
#include "io.h"

#define READ_STEP ((size_t)64 << 10)

static redisReplyObjectFunctions looks;

void wire_init(struct wire *x, size_t ring, const struct wire_calls *calls, void *owner, uint64_t *bytes_out)
{
    x->t.fd = -1;
    x->calls = calls;
    x->owner = owner;
    x->bytes_out = bytes_out;
    ring_init(&x->ring, ring);
}

void wire_free(struct wire *x)
{
    if (x->t.fd >= 0)
        x->t.close(&x->t);
    replies_close(&x->in);
    ring_free(&x->ring);
}

void wire_heard(struct wire *x, uint64_t now)
{
    x->heard = x->answered = now;
    x->unheard = 0;
}

bool wire_begin(struct wire *x)
{
    replies_close(&x->in);
    x->full = false;
    wire_heard(x, mono_us());
    return replies_open(&x->in, &looks, x);
}

static void lose(struct wire *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void lose(struct wire *x, const char *fmt, ...)
{
    char why[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    x->calls->lose(x->owner, why);
}

/* ---- bytes out ---- */

bool wire_write(struct wire *x, const uint8_t *p, size_t n, size_t *done)
{
    ssize_t k = x->t.write(&x->t, p, n);
    *done = k > 0 ? (size_t)k : 0;
    if (k >= 0) {
        *x->bytes_out += (uint64_t)k;
        x->heard = mono_us(); /* who takes bytes is there */
        if (x->full && k > 0) {
            x->answered = x->heard;
            x->full = false;
        }
        return true;
    }
    if (errno == EINTR)
        return true;
    if (errno == EAGAIN) {
        x->want_out = x->full = true;
        return false;
    }
    char why[200];
    snprintf(why, sizeof why, "%s", transport_reason(&x->t));
    wire_receive(x); /* it may have said why before it closed */
    lose(x, "writing: %s", why);
    return false;
}

bool wire_send(struct wire *x, size_t n)
{
    size_t done;
    for (; n > 0; n -= done) {
        if (!wire_write(x, ring_at(&x->ring, x->ring.sent), n, &done))
            return false;
        x->ring.sent += done;
    }
    return true;
}

/* ---- replies in: most are only looked at ---- */

static char seen; /* what every reply becomes */

static void look(const redisReadTask *t, int type, const char *text, size_t len, long long number)
{
    struct wire *x = replies_owner(t);
    if (t->parent != NULL) {
        if (t->parent->parent == NULL)
            x->calls->element(x->owner, t->idx, type, text, len, number);
        return;
    }
    x->reply_type = type;
    x->number = number;
    x->errlen = len < sizeof x->err - 1 ? len : sizeof x->err - 1;
    if (text != NULL)
        memcpy(x->err, text, x->errlen);
    x->err[x->errlen] = '\0';
}

static void *on_string(const redisReadTask *t, char *s, size_t len)
{
    look(t, t->type, s, len, 0);
    return &seen;
}

static void *on_array(const redisReadTask *t, hiredis_count elements)
{
    look(t, REDIS_REPLY_ARRAY, NULL, 0, 0);
    if (t->parent == NULL)
        ((struct wire *)replies_owner(t))->reply_elements = (int)elements;
    return &seen;
}

static void *on_integer(const redisReadTask *t, long long value)
{
    look(t, t->type, NULL, 0, value);
    return &seen;
}

static void *on_nil(const redisReadTask *t)
{
    look(t, REDIS_REPLY_NIL, NULL, 0, 0); /* t->type is that of what is not there */
    return &seen;
}

static void on_free(void *reply)
{
    (void)reply;
}

static redisReplyObjectFunctions looks = {.createString = on_string,
                                          .createArray = on_array,
                                          .createInteger = on_integer,
                                          .createNil = on_nil,
                                          .freeObject = on_free};

/* A reply, or a part of one, that nothing was sent for. */
static void unasked(struct wire *x)
{
    void *reply;
    x->reply_type = 0;
    if (replies_next(&x->in, false, REPLY_STRING, &reply) == 1 && x->reply_type == REDIS_REPLY_ERROR)
        lose(x, "the server says: %s", x->err);
    else
        lose(x, "a reply that nobody asked for");
}

enum next { NEXT_NONE, NEXT_DONE, NEXT_LOST };

/* The next whole reply, acted on. */
static enum next next_reply(struct wire *x)
{
    void *reply;
    bool build = false;
    size_t most = REPLY_STRING;
    if (replies_idle(&x->in))
        return NEXT_NONE;
    if (!x->calls->due(x->owner, &build, &most)) {
        unasked(x);
        return NEXT_LOST;
    }
    int got = replies_next(&x->in, build, most, &reply);
    if (got < 0)
        lose(x, "malformed reply: %s", x->in.why);
    if (got <= 0)
        return got < 0 ? NEXT_LOST : NEXT_NONE;
    wire_heard(x, x->read_at);
    bool fine = x->calls->reply(x->owner, build ? reply : NULL);
    if (build)
        freeReplyObject(reply);
    return fine ? NEXT_DONE : NEXT_LOST;
}

/* Short replies, which most are, as long as there are any. False: the connection is lost. */
static bool short_replies(struct wire *x)
{
    const char *text;
    while (replies_short(&x->in, &text, &x->errlen)) {
        x->reply_type = REDIS_REPLY_STATUS;
        memcpy(x->err, text, x->errlen);
        x->err[x->errlen] = '\0';
        wire_heard(x, x->read_at);
        if (!x->calls->status(x->owner))
            return false;
    }
    return true;
}

void wire_receive(struct wire *x)
{
    static char in[READ_STEP];
    for (;;) {
        ssize_t k = x->t.read(&x->t, in, sizeof in);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == EAGAIN)
            return;
        if (k <= 0) {
            lose(x, "%s", k == 0 ? "closed by the server" : transport_reason(&x->t));
            return;
        }
        x->read_at = mono_us();
        x->unheard += (size_t)k;
        if (x->unheard >= HEARD_STEP)
            wire_heard(x, x->read_at);
        replies_feed(&x->in, in, (size_t)k);
        enum next next;
        do
            next = short_replies(x) ? next_reply(x) : NEXT_LOST;
        while (next == NEXT_DONE);
        if (next == NEXT_LOST || (size_t)k < sizeof in)
            return;
    }
}
