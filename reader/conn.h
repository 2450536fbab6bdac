/* A connection to the master: requests out, replies in, and for a flow the raw bytes that follow the last
 * reply. */
#ifndef READER_CONN_H
#define READER_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "loop.h"
#include "reply.h"
#include "sock.h"
#include "url.h"

struct conn {
    struct loop *loop;
    struct watch w; /* edge-triggered; the caller sets ready and ctx before conn_open */
    struct transport t;
    const struct url *url;
    struct buf out;
    struct redisReader *reader; /* NULL once it carries raw bytes */
    struct reply reply;
    void *object;    /* see conn_keep_objects */
    size_t unparsed; /* bytes fed to the reader since its last reply */
    size_t reply_max;
    bool open;
    bool readable; /* not yet read until EAGAIN */
};

/* Connect (blocking, at most timeout_ms) and watch. rcvbuf: wanted receive buffer, 0 for the default. Returns
 * 0 or -1 with f filled in. */
int conn_open(struct conn *c, struct loop *loop, const struct url *u, int timeout_ms, int rcvbuf,
              struct fault *f);

/* The same to the very server that like leads to, without waiting: a failure shows when it is
 * used. */
int conn_open_like(struct conn *c, struct loop *loop, const struct conn *like, int rcvbuf, struct fault *f);
void conn_close(struct conn *c);

/* Send AUTH when the URL has a password or a user. Returns 1 sent, 0 not needed, -1 broken. */
int conn_auth(struct conn *c, const struct url *u);

/* conn_open_like for replies only, and conn_auth. like: NULL: there is none. Returns 1 sent, 0 not needed, -1
 * with f. */
int conn_another(struct conn *c, struct loop *loop, const struct conn *like, const struct url *u,
                 struct fault *f);

/* Note what epoll said and send what waits. Returns -1 when the connection is broken. */
int conn_events(struct conn *c, uint32_t events);

/* Queue a request of n arguments and send what the socket takes. Returns 0, or -1 when the connection is
 * broken. */
int conn_request(struct conn *c, int n, const char *const *args);
int conn_flush(struct conn *c);

/* The next reply, in c->reply. Returns 1, 0 none yet, -1 lost or no RESP (f says so). */
int conn_reply(struct conn *c, struct fault *f);

/* Who takes the replies of a connection. */
struct conn_user {
    void (*reply)(void *ctx);                       /* in c->reply, or c->object; it may close c */
    void (*lost)(void *ctx, const struct fault *f); /* status EXIT_RETRY, else what came is no RESP */
};

/* For a watch's ready: what epoll said, and all replies that are there. */
void conn_serve(struct conn *c, uint32_t events, const struct conn_user *user, void *ctx);

/* Replies of up to max bytes come as objects of hiredis, in c->object, which are the caller's:
 * freeReplyObject. */
void conn_keep_objects(struct conn *c, size_t max);

/* A request or a reading has failed (errno, 0: closed in order): say so in f. */
void conn_fault(const struct conn *c, struct fault *f);

/* From here on it carries raw bytes: copy those that came behind the last reply to to (cap bytes) and
 * return their number. */
size_t conn_raw(struct conn *c, uint8_t *to, size_t cap);

/* Read raw bytes. Returns their number, 0 when there are none now, -1 when the connection is gone; errno 0 at
 * its end. */
long conn_read(struct conn *c, uint8_t *to, size_t cap);

#endif
