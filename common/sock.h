/* Sockets: TCP and Unix, and the transport that hides what lies between a socket and the bytes (tls.h). */
#ifndef DF_SOCK_H
#define DF_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where a server listens. port empty: host is the path of a Unix socket. */
struct endpoint {
    char host[256];
    char port[8];
};

/* Can these be a host and a port? What a server names may be nothing else: no path, and nothing that would
 * break a line of the log. */
bool endpoint_ok(const char *host, const char *port);

/* Resolve a host and connect, within timeout_ms over all addresses. The descriptor is non-blocking,
 * close-on-exec, for TCP with TCP_NODELAY and keepalive (idle 60 s, 5 probes every 10 s). Returns -1, errno
 * and a reason in why; EINTR: a signal ended it. */
int sock_connect(const struct endpoint *e, int timeout_ms, char *why, size_t whylen);

/* Begin to connect and return at once a descriptor like the above (an address does not block, a name has to
 * be resolved). turn: which of its addresses to begin with, any number. It becomes writable when the outcome
 * is known. port empty: host is the path of a Unix socket. Returns -1 and a reason in why. */
int sock_tcp_start(const char *host, const char *port, unsigned turn, char *why, size_t whylen);

/* Outcome of sock_tcp_start once fd is writable: 0, or -1 with errno. */
int sock_tcp_done(int fd);

/* Begin to connect to where the connected socket fd leads, TCP or Unix, and do not wait: what becomes of it,
 * the first read or write tells. Returns a descriptor as above, or -1 with errno. */
int sock_connect_like(int fd);

/* Listen on a Unix socket of mode 0600; a stale socket file is replaced, a live one is an error (EADDRINUSE).
 */
int sock_unix_listen(const char *path);

/* Connect to one. Where its queue is full that waits timeout_ms at most (ETIMEDOUT). */
int sock_unix_connect(const char *path, int timeout_ms);

/* Open where a stage writes its stream: "-" stdout, unix:PATH (connected to), else a file that is created or
 * truncated. Returns a descriptor or -1 with errno. */
int sock_open_output(const char *where);

/* Bytes to and from a peer. read and write behave like the system calls on a non-blocking descriptor: -1 with
 * EAGAIN when they would block. With TLS the handshake happens inside them, a write may have to wait for
 * input and a read for room, and what TLS has already taken from the socket wakes no epoll: therefore
 *  - read until EAGAIN or until it gives less than was asked for (then nothing is left behind either);
 *  - watch for EPOLLIN always and for EPOLLOUT when transport_wants_out() says so;
 *  - whatever the event, try to write if write_wants_in, and to read if read_wants_out;
 *  - a write of nothing sends what is left over inside, where neither will be called otherwise for long. */
struct transport {
    int fd;
    ssize_t (*read)(struct transport *t, void *to, size_t n);
    ssize_t (*write)(struct transport *t, const void *from, size_t n);
    void (*finish)(struct transport *t); /* nothing more will be written; reading goes on */
    void (*close)(struct transport *t);
    const char *(*reason)(const struct transport *t); /* see transport_reason */
    void *state;
    bool read_wants_out; /* the next read sends something left over: once fd is writable */
    bool write_wants_in; /* the last write waits until fd is readable: for the handshake */
    bool hopeless;       /* it failed, and trying again will not help: a bad certificate and the like */
};

void transport_plain(struct transport *t, int fd);

/* Is fd to be watched for room? output: there is something to be written. */
static inline bool transport_wants_out(const struct transport *t, bool output)
{
    return t->read_wants_out || (output && !t->write_wants_in);
}

/* Why read or write failed, in words; directly after it (errno). */
const char *transport_reason(const struct transport *t);

/* Wait until trying again may succeed: a read or (reading false) a write that said EAGAIN. At most
 * timeout_ms; signals end it too. */
void transport_wait(const struct transport *t, bool reading, int timeout_ms);

/* Blocking exchange with a deadline for handshakes. 0 or -1 (errno; ETIMEDOUT). */
int transport_send(struct transport *t, const void *data, size_t n, int timeout_ms);

#endif
