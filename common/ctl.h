/* Control messages: lines over a Unix socket that dfreader owns. dfrecord(5), CONTROL PROTOCOL.
 * Nothing here blocks except ctl_hello. */
#ifndef DF_CTL_H
#define DF_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define CTL_LINE_MAX ((size_t)4096)

struct ctl {
    int fd; /* -1: not connected */
    struct buf in;
    size_t taken; /* bytes of in that were handed out as lines */
    struct buf out;
};

/* Take over a connected descriptor and make it non-blocking. */
void ctl_init(struct ctl *c, int fd);
void ctl_close(struct ctl *c);

/* Queue a line (fmt without its newline) and send what the socket takes. Returns 0, or -1 when the peer has
 * gone or does not read (64 KiB pending): the caller closes it. */
int ctl_send(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int ctl_flush(struct ctl *c);

/* Nothing waits to be sent: the moment to send newest-wins messages. */
static inline bool ctl_idle(const struct ctl *c)
{
    return c->out.len == 0;
}

/* Read what there is. Returns 1 got bytes, 0 nothing now, -1 the peer has gone. Lines already read stay
 * available. */
int ctl_fill(struct ctl *c);

/* The next whole line, NUL-terminated, valid until the next ctl_fill. NULL: none. */
char *ctl_line(struct ctl *c);

/* Parts of a line. */
bool ctl_is(const char *line, const char *verb);
long ctl_get(const char *line, const char *name, char *out, size_t cap);
bool ctl_getu(const char *line, const char *name, uint64_t *out);

/* Connect to path, say hello (the rest of the line: "role=writer nonce=…"), wait up to timeout_ms for the
 * answer and copy it to answer. Returns 0 when welcome, -1 otherwise (not there, refused, silent); c->fd is
 * -1 then. */
int ctl_hello(struct ctl *c, const char *path, const char *hello, int timeout_ms, char *answer, size_t cap);

/* After a session that began at started (Unix time) was not to be reached: has its dfreader been killed
 * within the last minute? Then its socket is left behind, where one that ends removes it. */
bool ctl_just_died(const char *path, uint64_t started);

#endif
