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
    struct watch w; /* edge-triggered; the owner sets ready and ctx before conn_open */
    struct transport t;
    const struct url *url;
    struct buf out;
    struct redisReader *reader; /* NULL once the link carries raw bytes */
    struct reply reply;
    size_t unparsed; /* bytes fed to the reader since its last reply */
    bool open;
    bool readable; /* not yet read until EAGAIN */
};

/* Connect (blocking, at most timeout_ms) and watch. rcvbuf: wanted receive buffer, 0 for the default. Returns
 * 0 or -1 with f filled in. */
int conn_open(struct conn *l, struct loop *loop, const struct url *u, int timeout_ms, int rcvbuf,
              struct fault *f);

/* The same to the very server that link like leads to, without waiting: a failure shows when the link is
 * used. */
int conn_open_like(struct conn *l, struct loop *loop, const struct conn *like, int rcvbuf, struct fault *f);
void conn_close(struct conn *l);

/* Note what epoll said and send what waits. Returns -1 when the connection is broken. */
int conn_events(struct conn *l, uint32_t events);

/* Queue a request of n arguments and send what the socket takes. Returns 0, or -1 when the connection is
 * broken. */
int conn_request(struct conn *l, int n, const char *const *args);
int conn_flush(struct conn *l);

/* The next reply, in l->reply. Returns 1, 0 none yet, -1 lost or no RESP (f says so). */
int conn_reply(struct conn *l, struct fault *f);

/* A request or a reading has failed (errno, 0: closed in order): say so in f. */
void conn_fault(const struct conn *l, struct fault *f);

/* From here on the link carries raw bytes: copy those that came behind the last reply to to (cap bytes) and
 * return their number. */
size_t conn_raw(struct conn *l, uint8_t *to, size_t cap);

/* Read raw bytes. Returns their number, 0 when there are none now, -1 when the connection is gone; errno 0 at
 * its end. */
long conn_read(struct conn *l, uint8_t *to, size_t cap);

#endif
