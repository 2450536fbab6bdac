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
#define READ_STEP ((size_t)16 << 10)

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

/* Make a connection of l->t, which is connected or being connected. */
static int adopt(struct conn *l, struct loop *loop, const struct url *u, int rcvbuf, struct fault *f)
{
    grow_rcvbuf(l->t.fd, rcvbuf);
    l->url = u;
    l->loop = loop;
    l->out = (struct buf){.max = OUT_MAX};
    l->unparsed = 0;
    l->reply_max = REPLY_MAX;
    l->readable = false;
    l->reader = reply_reader(&l->reply);
    if (l->reader == NULL)
        fatal(EXIT_CANNOT, "out of memory");
    l->open = true;
    if (loop_add(loop, &l->w, l->t.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != 0) {
        fault_set(f, EXIT_CANNOT, "cannot watch a socket: %s", strerror(errno));
        conn_close(l);
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

int conn_open(struct conn *l, struct loop *loop, const struct url *u, int timeout_ms, int rcvbuf,
              struct fault *f)
{
    return connect_to(&l->t, u, timeout_ms, f) < 0 ? -1 : adopt(l, loop, u, rcvbuf, f);
}

int conn_open_like(struct conn *l, struct loop *loop, const struct conn *like, int rcvbuf, struct fault *f)
{
    const struct url *u = like->url;
    int fd = sock_connect_like(like->t.fd);
    if (fd < 0 || transport_open(&l->t, fd, u->tls, u->seed[0].host) < 0) {
        fault_set(f, EXIT_RETRY, "cannot connect to the master once more: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return adopt(l, loop, u, rcvbuf, f);
}

void conn_close(struct conn *l)
{
    if (!l->open)
        return;
    loop_del(l->loop, &l->w);
    l->t.close(&l->t);
    if (l->reader != NULL)
        redisReaderFree(l->reader);
    l->reader = NULL;
    buf_free(&l->out);
    l->open = false;
    l->readable = false;
}

int conn_events(struct conn *l, uint32_t events)
{
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 || l->t.read_wants_out)
        l->readable = true;
    return (events & EPOLLOUT) != 0 || l->t.write_wants_in ? conn_flush(l) : 0;
}

int conn_flush(struct conn *l)
{
    if (l->out.len == 0 && l->t.read_wants_out && l->t.write(&l->t, "", 0) < 0)
        return -1;
    while (l->out.len > 0) {
        ssize_t n = l->t.write(&l->t, l->out.p, l->out.len);
        if (n > 0)
            buf_shift(&l->out, (size_t)n);
        else if (n < 0 && errno == EAGAIN)
            return 0;
        else if (n == 0 || errno != EINTR)
            return -1;
    }
    return 0;
}

int conn_request(struct conn *l, int n, const char *const *args)
{
    if (!l->open || resp_add_array(&l->out, (uint64_t)n) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (resp_add_str(&l->out, args[i]) < 0)
            return -1;
    return conn_flush(l);
}

/* Read once. Returns bytes, 0 nothing now, -1 gone (errno 0: closed by the peer). */
long conn_read(struct conn *l, uint8_t *to, size_t cap)
{
    for (;;) {
        ssize_t n = l->t.read(&l->t, to, cap);
        if (n > 0)
            return n;
        if (n == 0) {
            errno = 0;
            return -1;
        }
        if (errno == EAGAIN) {
            /* With TLS, what came may be what a write has waited for, and reading has taken it. */
            bool waited = l->t.write_wants_in && l->out.len > 0;
            if (waited && conn_flush(l) < 0)
                return -1;
            if (waited && !l->t.write_wants_in)
                continue;
            l->readable = false;
            return 0;
        }
        if (errno != EINTR)
            return -1;
    }
}

void conn_fault(const struct conn *l, struct fault *f)
{
    bool end = errno == 0;
    fault_set(f, l->t.hopeless ? EXIT_CANNOT : EXIT_RETRY, "the master closed the connection%s%s",
              end ? "" : ": ", end ? "" : transport_reason(&l->t));
}

static int no_resp(struct fault *f, const char *why)
{
    fault_set(f, EXIT_CANNOT,
              "the server does not answer in the Redis protocol (%s): wrong port, or one that expects TLS",
              why);
    return -1;
}

int conn_reply(struct conn *l, struct fault *f)
{
    uint8_t piece[READ_STEP];
    for (;;) {
        void *object = NULL;
        if (redisReaderGetReply(l->reader, &object) != REDIS_OK)
            return no_resp(f, l->reader->errstr);
        if (object != NULL) {
            l->object = object;
            l->unparsed = 0;
            return 1;
        }
        if (l->unparsed > l->reply_max - READ_STEP)
            return no_resp(f, "reply too long");
        long n = conn_read(l, piece, sizeof piece);
        if (n < 0)
            conn_fault(l, f);
        if (n <= 0)
            return (int)n;
        l->unparsed += (size_t)n;
        if (redisReaderFeed(l->reader, (const char *)piece, (size_t)n) != REDIS_OK)
            return no_resp(f, l->reader->errstr);
    }
}

void conn_keep_objects(struct conn *l, size_t max)
{
    redisReaderFree(l->reader);
    l->reader = redisReaderCreate();
    if (l->reader == NULL)
        fatal(EXIT_CANNOT, "out of memory");
    l->reply_max = max;
}

size_t conn_raw(struct conn *l, uint8_t *to, size_t cap)
{
    redisReader *r = l->reader;
    size_t n = r->len - r->pos;
    if (n > 0 && cap > 0) /* less than one read lies there: it fits */
        memcpy(to, r->buf + r->pos, n < cap ? n : cap);
    redisReaderFree(r);
    l->reader = NULL;
    return n;
}

int conn_auth(struct conn *l, const struct url *u)
{
    if (u->password[0] == '\0' && u->user[0] == '\0')
        return 0;
    const char *args[3] = {"AUTH", u->user, u->password};
    if (u->user[0] == '\0')
        args[1] = u->password;
    return conn_request(l, u->user[0] == '\0' ? 2 : 3, args) == 0 ? 1 : -1;
}

int conn_another(struct conn *l, struct loop *loop, const struct conn *like, const struct url *u,
                 struct fault *f)
{
    if (like == NULL || !like->open) {
        fault_set(f, EXIT_RETRY, "no connection to the master");
        return -1;
    }
    if (conn_open_like(l, loop, like, 0, f) < 0)
        return -1;
    int rc = conn_auth(l, u);
    if (rc >= 0)
        return rc;
    conn_fault(l, f);
    conn_close(l);
    return -1;
}
