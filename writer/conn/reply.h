/* What a server sends, taken apart into replies, in bounded memory: strings above a limit are thrown away as
 * they come, lines and whole replies that are built have a limit, too. */
#ifndef RW_REPLY_H
#define RW_REPLY_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_STRING ((size_t)1 << 20)  /* of a reply that is only looked at */
#define REPLY_BUILT  ((size_t)32 << 20) /* of one that is built: CLIENT LIST, SCAN and the like */

/* A reply that comes more slowly than so many bytes in --reply-timeout does not come. */
#define HEARD_STEP ((size_t)4096)

struct replies {
    redisReader *reader;
    redisReplyObjectFunctions *look; /* what replies are looked at with; NULL: all are built */
    void *owner;
    const char *fed; /* bytes that came, and were not taken yet */
    size_t nfed;
    size_t most;     /* limit of the reply being read */
    bool build;      /* the reply being read is built */
    bool cut;        /* a string in it was above the limit, and is empty now */
    uint64_t skip;   /* bytes of that string which are still to come */
    uint64_t got;    /* bytes of the reply being read */
    size_t elements; /* of it, in all arrays */
    char why[128];   /* what is wrong */
};

/* False: out of memory. look's functions find owner by replies_owner. */
bool replies_open(struct replies *in, redisReplyObjectFunctions *look, void *owner);
void replies_close(struct replies *in);

static inline void *replies_owner(const redisReadTask *t)
{
    return ((struct replies *)t->privdata)->owner;
}

/* Bytes that came. They have to stay until replies_next returns 0: they are taken as they are needed. */
void replies_feed(struct replies *in, const char *p, size_t n);

/* Is the next reply, which is only looked at, one of those that nearly all are ("+OK", "+QUEUED")? Then it is
 * taken, without the reader, and *text is what stands between '+' and CR LF. */
bool replies_short(struct replies *in, const char **text, size_t *len);

/* The next whole reply. build: the caller frees what is built (freeReplyObject); else *reply means nothing.
 * most: limit of a string, and of all that is built. Returns 1, 0 when more has to come, -1 when in->why says
 * what is wrong. What is asked for counts when a reply begins. */
int replies_next(struct replies *in, bool build, size_t most, void **reply);

/* Nothing of a reply has come that is not whole. */
bool replies_idle(const struct replies *in);

/* May a request get a reply of this type (REDIS_REPLY_...), which is no error? Of commands that are not
 * known, any. */
bool reply_fits(const uint8_t *request, size_t n, int type);

/* Names and values in turn, all of them strings: what HGETALL answers. */
bool reply_is_hash(const redisReply *r);

/* A cursor and keys: what SCAN answers. */
bool reply_is_scan(const redisReply *r);

#define REPLY_BIT(type) (1u << (type))

/* A cursor that comes back without having been 0 in between: the scan would never end. */
struct scan_guard {
    char mark[32];
    uint32_t n, next;
};
bool scan_circles(struct scan_guard *g, const char *cursor);

#endif
