/* Sockets: TCP and Unix, and the transport that hides what lies between a socket and the bytes (TLS later). */
#ifndef DF_SOCK_H
#define DF_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Resolve host and connect, within timeout_ms over all addresses. The descriptor is non-blocking, close-on-exec,
 * with TCP_NODELAY and keepalive (idle 60 s, 5 probes every 10 s). Returns -1 and a reason in why. */
int sock_tcp_connect(const char *host, const char *port, int timeout_ms, char *why, size_t whylen);

/* Begin to connect to where the connected socket fd leads, TCP or Unix, and do not wait: what becomes of it, the first
 * read or write tells. Returns a descriptor as above, or -1 with errno. */
int sock_connect_like(int fd);

/* Listen on a Unix socket of mode 0600; a stale socket file is replaced, a live one is an error (EADDRINUSE). */
int sock_unix_listen(const char *path);
int sock_unix_connect(const char *path);

/* Bytes to and from a peer. read and write behave like the system calls on a non-blocking descriptor: -1 with
 * EAGAIN when they would block. A TLS transport fills in its own functions and state. */
struct transport {
    int fd;
    ssize_t (*read)(struct transport *t, void *to, size_t n);
    ssize_t (*write)(struct transport *t, const void *from, size_t n);
    void (*close)(struct transport *t);
    void *state;
};

void transport_plain(struct transport *t, int fd);

/* Blocking exchange with a deadline for handshakes. 0 or -1 (errno; ETIMEDOUT). */
int transport_send(struct transport *t, const void *data, size_t n, int timeout_ms);

#endif
