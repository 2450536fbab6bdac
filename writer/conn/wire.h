/* A connection as bytes: what is to be sent stays in a ring until it is confirmed, what comes is taken apart
 * into replies. Whoever owns it is called back; nothing here knows of requests, or of the writer. */
#ifndef RW_WIRE_H
#define RW_WIRE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"
#include "ring.h"
#include "sock.h"

/* The owner's part. */
struct wire_calls {
    /* Is a reply due? If so: is it to be built by hiredis, and how long may it be (most: REPLY_STRING
     * before)? */
    bool (*due)(void *owner, bool *build, size_t *most);
    /* An element of a reply that is an array, as it comes. text: NULL when it has none. */
    void (*element)(void *owner, int at, int type, const char *text, size_t len, long long number);
    /* A whole reply: what it is stands in the wire; built: NULL unless it was to be. False: the connection is
     * lost. */
    bool (*reply)(void *owner, redisReply *built);
    /* The same for a short one ("+OK", "+QUEUED"), which comes without having been due. */
    bool (*status)(void *owner);
    /* The connection cannot be used any more. */
    void (*lose)(void *owner, const char *why);
};

struct wire {
    struct transport t; /* fd -1: not connected */
    bool want_out;      /* the socket did not take everything */
    struct replies in;
    struct ring ring;
    const struct wire_calls *calls;
    void *owner;
    uint64_t *bytes_out; /* counts what is written */
    uint64_t read_at;    /* mono_us of the last bytes that came */
    uint64_t heard;      /* mono_us: bytes went, a reply came, or so many bytes of one (HEARD_STEP) */
    uint64_t answered;   /* the same, but of bytes that went those for which the other side had to make room:
                            the kernel takes some for a server that stands still */
    bool full;           /* it had no room */
    size_t unheard;      /* bytes of a reply that came since */

    /* the reply being read */
    int reply_type;
    int reply_elements;
    long long number;
    char err[256]; /* the text of an error, a status or a string */
    size_t errlen;
};

/* ring: bytes for unconfirmed requests, a power of two. */
void wire_init(struct wire *x, size_t ring, const struct wire_calls *calls, void *owner, uint64_t *bytes_out);
void wire_free(struct wire *x);

/* A new connection: nothing has come over it. False: out of memory. */
bool wire_begin(struct wire *x);

/* The other side is there, or an answer is due from now on. */
void wire_heard(struct wire *x, uint64_t now);

/* Write what the socket takes of n bytes. False: it takes no more for now, or is gone. */
bool wire_write(struct wire *x, const uint8_t *p, size_t n, size_t *done);

/* Write the next n bytes of the ring. False: see above. */
bool wire_send(struct wire *x, size_t n);

/* Read what has come, and hand it over. */
void wire_receive(struct wire *x);

#endif
