#include "call.h"

#include <errno.h>
#include <string.h>

#include "buf.h"
#include "io.h"
#include "reply.h"
#include "resp.h"
#include "signals.h"
#include "writer.h"

/* The bytes to a whole reply, or as far as they go. False: errno. */
static bool take_bytes(struct replies *in, const char *p, size_t n, void **reply)
{
    if (!replies_feed(in, p, n) || replies_next(in, true, REPLY_BUILT, reply) < 0) {
        errno = EPROTO;
        return false;
    }
    if (in->cut) {
        errno = EMSGSIZE;
        return false;
    }
    if (*reply != NULL && !replies_idle(in)) { /* a second one, to a question that was not asked */
        errno = EBADMSG;
        return false;
    }
    return true;
}

static redisReply *read_reply(struct transport *t, uint64_t deadline)
{
    static char buf[16384];
    struct replies in;
    void *reply = NULL;
    bool ok = true;
    if (!replies_open(&in, NULL, NULL)) {
        errno = ENOMEM;
        return NULL;
    }
    while (reply == NULL) {
        ssize_t k = t->read(t, buf, sizeof buf);
        uint64_t now = mono_us();
        if (k > 0 && !(ok = take_bytes(&in, buf, (size_t)k, &reply)))
            break;
        if (k == 0)
            errno = ECONNRESET;
        if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
            break;
        if (reply == NULL && (now >= deadline || signals_seen() >= 2)) {
            errno = ETIMEDOUT;
            break;
        }
        if (k < 0)
            transport_wait(t, true, (int)((deadline - now) / 1000) + 1);
    }
    int e = errno;
    if (!ok) {
        freeReplyObject(reply);
        reply = NULL;
    }
    replies_close(&in);
    errno = e;
    return reply;
}

redisReply *call_request(struct transport *t, int timeout_ms, const void *request, size_t len)
{
    if (transport_send(t, request, len, timeout_ms) != 0)
        return NULL;
    return read_reply(t, mono_us() + (uint64_t)timeout_ms * 1000);
}

redisReply *call_argv(struct transport *t, int timeout_ms, const char *const *arg, unsigned argc)
{
    struct buf b = {0};
    (void)resp_add_array(&b, argc);
    for (unsigned i = 0; i < argc; i++)
        (void)resp_add_str(&b, arg[i]);
    redisReply *r = call_request(t, timeout_ms, b.p, b.len);
    int e = errno;
    explicit_bzero(b.p, b.len); /* it may hold the password */
    buf_free(&b);
    errno = e;
    return r;
}

unsigned call_collect(const char **arg, va_list ap)
{
    unsigned argc = 0;
    for (const char *a; argc < CALL_ARGS_MAX && (a = va_arg(ap, const char *)) != NULL;)
        arg[argc++] = a;
    return argc;
}

redisReply *call(struct transport *t, int timeout_ms, ...)
{
    const char *arg[CALL_ARGS_MAX];
    va_list ap;
    va_start(ap, timeout_ms);
    unsigned argc = call_collect(arg, ap);
    va_end(ap);
    return call_argv(t, timeout_ms, arg, argc);
}

const char *call_reason(const struct transport *t)
{
    switch (errno) {
    case ETIMEDOUT: return "no answer in time";
    case EMSGSIZE: return "the answer is too large";
    case EBADMSG: return "an answer that was not asked for";
    case EPROTO:
        if (t->state == NULL)
            return "the server does not answer in the Redis protocol: wrong port, or does it expect TLS "
                   "(rediss://)?";
        break;
    default: break;
    }
    return transport_reason(t);
}

redisReply *call_auth(struct transport *t, int timeout_ms, const char *user, const char *password,
                      bool *needed)
{
    *needed = user[0] != '\0' || password[0] != '\0';
    if (!*needed)
        return NULL;
    if (user[0] != '\0')
        return call(t, timeout_ms, "AUTH", user, password, NULL);
    return call(t, timeout_ms, "AUTH", password, NULL);
}
