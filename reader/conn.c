#include "conn.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "resp.h"
#include "tls.h"

#define OUT_MAX   ((size_t)64 << 10)
#define READ_STEP ((size_t)4096)

_Static_assert(READ_STEP <= REPLY_MAX, "one read must be able to hold a reply");

/* ---- connection ---- */

/* A large receive buffer keeps the master's writes going. Where the system limits what may be asked for,
 * asking would switch the kernel's own growing off and leave less: only ask when it is granted. */
static void grow_rcvbuf(int fd, int want)
{
    if (want == 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof want) == 0)
        return;
    long most = 0;
    FILE *f = fopen("/proc/sys/net/core/rmem_max", "re");
    if (f != NULL) {
        if (fscanf(f, "%ld", &most) != 1)
            most = 0;
        fclose(f);
    }
    if (most >= want)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof want);
}

/* Make a connection of c->t, which is connected or being connected. */
static int adopt(struct conn *c, struct loop *loop, const struct url *u, int rcvbuf, struct fault *f)
{
    grow_rcvbuf(c->t.fd, rcvbuf);
    c->url = u;
    c->loop = loop;
    c->out = (struct buf){.max = OUT_MAX};
    c->unparsed = 0;
    c->reply_max = REPLY_MAX;
    c->readable = false;
    c->reader = reply_reader(&c->reply);
    if (c->reader == NULL)
        fatal(EXIT_CANNOT, "out of memory");
    c->open = true;
    if (loop_add(loop, &c->w, c->t.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != 0) {
        fault_set(f, exit_local(errno), "cannot watch a socket: %s", strerror(errno));
        conn_close(c);
        return -1;
    }
    return 0;
}

static int connect_to(struct transport *t, const struct url *u, int timeout_ms, struct fault *f)
{
    char why[FAULT_TEXT - 64];
    bool never;
    int rc;
    do
        rc = transport_connect(t, &u->seed[0], u->tls, timeout_ms, why, sizeof why, &never);
    while (rc < 0 && errno == EINTR && signals_seen() == 0); /* other signals than those that stop us */
    if (rc < 0 && errno == EINTR)
        fault_set(f, EXIT_PARTIAL, "stopped while connecting to %s:%s", u->host, u->port);
    else if (rc < 0)
        fault_set(f, never ? EXIT_CANNOT : EXIT_RETRY, "%s", why);
    return rc;
}

int conn_open(struct conn *c, struct loop *loop, const struct url *u, int timeout_ms, int rcvbuf,
              struct fault *f)
{
    return connect_to(&c->t, u, timeout_ms, f) < 0 ? -1 : adopt(c, loop, u, rcvbuf, f);
}

int conn_open_like(struct conn *c, struct loop *loop, const struct conn *like, int rcvbuf, struct fault *f)
{
    const struct url *u = like->url;
    int fd = sock_connect_like(like->t.fd);
    if (fd < 0 || transport_open(&c->t, fd, u->tls, u->seed[0].host) < 0) {
        fault_set(f, EXIT_RETRY, "cannot connect to the master once more: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return adopt(c, loop, u, rcvbuf, f);
}

void conn_close(struct conn *c)
{
    if (!c->open)
        return;
    loop_del(c->loop, &c->w);
    c->t.close(&c->t);
    if (c->reader != NULL)
        redisReaderFree(c->reader);
    c->reader = NULL;
    buf_free(&c->out);
    c->open = false;
    c->readable = false;
}

int conn_events(struct conn *c, uint32_t events)
{
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 || c->t.read_wants_out)
        c->readable = true;
    return (events & EPOLLOUT) != 0 || c->t.write_wants_in ? conn_flush(c) : 0;
}

int conn_flush(struct conn *c)
{
    if (c->out.len == 0 && c->t.read_wants_out && c->t.write(&c->t, "", 0) < 0)
        return -1;
    while (c->out.len > 0) {
        ssize_t n = c->t.write(&c->t, c->out.p, c->out.len);
        if (n > 0)
            buf_shift(&c->out, (size_t)n);
        else if (n < 0 && errno == EAGAIN)
            return 0;
        else if (n == 0 || errno != EINTR)
            return -1;
    }
    return 0;
}

int conn_request(struct conn *c, int n, const char *const *args)
{
    if (!c->open || resp_add_array(&c->out, (uint64_t)n) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (resp_add_str(&c->out, args[i]) < 0)
            return -1;
    return conn_flush(c);
}

/* Read once. Returns bytes, 0 nothing now, -1 gone (errno 0: closed by the peer). */
long conn_read(struct conn *c, uint8_t *to, size_t cap)
{
    for (;;) {
        ssize_t n = c->t.read(&c->t, to, cap);
        if (n > 0)
            return n;
        if (n == 0) {
            errno = 0;
            return -1;
        }
        if (errno == EAGAIN) {
            /* With TLS, what came may be what a write has waited for, and reading has taken it. */
            bool waited = c->t.write_wants_in && c->out.len > 0;
            if (waited && conn_flush(c) < 0)
                return -1;
            if (waited && !c->t.write_wants_in)
                continue;
            c->readable = false;
            return 0;
        }
        if (errno != EINTR)
            return -1;
    }
}

void conn_fault(const struct conn *c, struct fault *f)
{
    bool end = errno == 0;
    fault_set(f, c->t.hopeless ? EXIT_CANNOT : EXIT_RETRY, "the master closed the connection%s%s",
              end ? "" : ": ", end ? "" : transport_reason(&c->t));
}

static int no_resp(struct fault *f, const char *why)
{
    fault_set(f, EXIT_CANNOT,
              "the server does not answer in the Redis protocol (%s): wrong port, or one that expects TLS",
              why);
    return -1;
}

int conn_reply(struct conn *c, struct fault *f)
{
    uint8_t piece[READ_STEP];
    for (;;) {
        void *object = NULL;
        if (redisReaderGetReply(c->reader, &object) != REDIS_OK)
            return no_resp(f, c->reader->errstr);
        if (object != NULL) {
            c->object = object;
            c->unparsed = 0;
            return 1;
        }
        if (c->unparsed > c->reply_max - READ_STEP)
            return no_resp(f, "reply too long");
        long n = conn_read(c, piece, sizeof piece);
        if (n < 0)
            conn_fault(c, f);
        if (n <= 0)
            return (int)n;
        c->unparsed += (size_t)n;
        if (redisReaderFeed(c->reader, (const char *)piece, (size_t)n) != REDIS_OK)
            return no_resp(f, c->reader->errstr);
    }
}

void conn_serve(struct conn *c, uint32_t events, const struct conn_user *user, void *ctx)
{
    struct fault f;
    if (conn_events(c, events) < 0) {
        conn_fault(c, &f);
        user->lost(ctx, &f);
        return;
    }
    while (c->open && c->readable) {
        int rc = conn_reply(c, &f);
        if (rc < 0)
            user->lost(ctx, &f);
        if (rc <= 0)
            return;
        user->reply(ctx);
    }
}

void conn_keep_objects(struct conn *c, size_t max)
{
    redisReaderFree(c->reader);
    c->reader = redisReaderCreate();
    if (c->reader == NULL)
        fatal(EXIT_CANNOT, "out of memory");
    c->reply_max = max;
}

size_t conn_raw(struct conn *c, uint8_t *to, size_t cap)
{
    redisReader *r = c->reader;
    size_t n = r->len - r->pos;
    if (n > 0 && cap > 0) /* less than one read lies there: it fits */
        memcpy(to, r->buf + r->pos, n < cap ? n : cap);
    redisReaderFree(r);
    c->reader = NULL;
    return n;
}

int conn_auth(struct conn *c, const struct url *u)
{
    if (u->password[0] == '\0' && u->user[0] == '\0')
        return 0;
    const char *args[3] = {"AUTH", u->user, u->password};
    if (u->user[0] == '\0')
        args[1] = u->password;
    return conn_request(c, u->user[0] == '\0' ? 2 : 3, args) == 0 ? 1 : -1;
}

int conn_another(struct conn *c, struct loop *loop, const struct conn *like, const struct url *u,
                 struct fault *f)
{
    if (like == NULL || !like->open) {
        fault_set(f, EXIT_RETRY, "no connection to the master");
        return -1;
    }
    if (conn_open_like(c, loop, like, 0, f) < 0)
        return -1;
    int rc = conn_auth(c, u);
    if (rc >= 0)
        return rc;
    conn_fault(c, f);
    conn_close(c);
    return -1;
}
