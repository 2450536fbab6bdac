#include "reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hiredis_kind.h"

#define LINE_LIMIT    ((size_t)64 << 10)
#define ELEMENTS_MOST ((size_t)1 << 20)
#define STEP          ((size_t)4 << 10)   /* the reader gets at once */
#define SLACK         ((size_t)256 << 10) /* bytes behind a reply that were read with it */

/* ---- building, with a limit ---- */

static redisReplyObjectFunctions *usual(void)
{
    static redisReplyObjectFunctions *functions;
    if (functions == NULL) {
        redisReader *r = redisReaderCreate();
        functions = r != NULL ? r->fn : NULL;
        redisReaderFree(r);
    }
    return functions;
}

static void *build_string(const redisReadTask *t, char *s, size_t len)
{
    return usual()->createString(t, s, len);
}

/* An array takes memory when its header is read, whatever follows. */
static void *build_array(const redisReadTask *t, hiredis_count elements)
{
    struct replies *in = t->privdata;
    in->elements += elements > 0 ? (size_t)elements : 0;
    return in->elements <= ELEMENTS_MOST ? usual()->createArray(t, elements) : NULL;
}

static void *build_integer(const redisReadTask *t, long long value)
{
    return usual()->createInteger(t, value);
}

static void *build_nil(const redisReadTask *t)
{
    return usual()->createNil(t);
}

static redisReplyObjectFunctions building = {.createString = build_string,
                                             .createArray = build_array,
                                             .createInteger = build_integer,
                                             .createNil = build_nil,
                                             .freeObject = freeReplyObject};

/* ---- reading ---- */

bool replies_open(struct replies *in, redisReplyObjectFunctions *look, void *owner)
{
    *in = (struct replies){.look = look, .owner = owner};
    in->reader = usual() != NULL ? redisReaderCreate() : NULL;
    if (in->reader == NULL)
        return false;
    in->reader->privdata = in;
    in->reader->maxbuf = 0; /* keep the buffer */
    in->reader->fn = look != NULL ? look : &building;
    return true;
}

void replies_close(struct replies *in)
{
    if (in->reader != NULL)
        redisReaderFree(in->reader);
    in->reader = NULL;
    in->nfed = 0;
}

static bool wrong(struct replies *in, const char *what)
{
    snprintf(in->why, sizeof in->why, "%s", what);
    return false;
}

/* What is left of a string that was above the limit goes. */
static void skip(struct replies *in)
{
    size_t gone = in->skip < in->nfed ? (size_t)in->skip : in->nfed;
    in->skip -= gone;
    in->fed += gone;
    in->nfed -= gone;
}

void replies_feed(struct replies *in, const char *p, size_t n)
{
    in->fed = p;
    in->nfed = n;
    skip(in);
}

/* Give the reader some of what came, to the end of a line where there is one: behind the reply in hand may be
 * short ones. */
static bool feed_reader(struct replies *in)
{
    size_t n = in->nfed < STEP ? in->nfed : STEP;
    const char *p = in->fed, *end = n < in->nfed ? memrchr(p, '\n', n) : NULL;
    if (end != NULL)
        n = (size_t)(end + 1 - p);
    in->fed += n;
    in->nfed -= n;
    in->got += n;
    if (redisReaderFeed(in->reader, p, n) != REDIS_OK)
        return wrong(in, in->reader->errstr);
    return true;
}

/* Has the reader nothing of a reply? */
static bool reader_idle(const struct replies *in)
{
    return in->reader->ridx < 0 && in->reader->len == in->reader->pos;
}

bool replies_idle(const struct replies *in)
{
    return in->nfed == 0 && reader_idle(in);
}

bool replies_short(struct replies *in, const char **text, size_t *len)
{
    static const char ok[] = "+OK\r\n", queued[] = "+QUEUED\r\n";
    size_t n = sizeof ok - 1;
    if (in->nfed < n || !reader_idle(in))
        return false;
    if (memcmp(in->fed, ok, n) != 0) {
        n = sizeof queued - 1;
        if (in->nfed < n || memcmp(in->fed, queued, n) != 0)
            return false;
    }
    *text = in->fed + 1;
    *len = n - 3;
    in->fed += n;
    in->nfed -= n;
    return true;
}

/* The reader waits for more. Of what it waits for it has taken the type: a line without its end, or a string
 * behind the line with its length. */
static bool guard(struct replies *in)
{
    redisReader *r = in->reader;
    static const char empty[] = "0\r\n\r\n";
    size_t left = r->len - r->pos;
    if (in->build && in->got > (uint64_t)in->most + SLACK)
        return wrong(in, "a reply is too large");
    if (left == 0)
        return true;
    const char *line = r->buf + r->pos;
    const char *end = memchr(line, '\n', left < LINE_LIMIT ? left : LINE_LIMIT);
    if (end == NULL)
        return left < LINE_LIMIT || wrong(in, "a line of a reply is too long");
    unsigned long long size = line[0] >= '0' && line[0] <= '9' ? strtoull(line, NULL, 10) : 0;
    size_t have = left - (size_t)(end + 1 - line);
    if (size <= in->most || size > INT64_MAX || have >= size)
        return true;
    in->cut = true;
    in->skip = size + 2 - have;
    in->got = 0;
    r->pos = r->len;
    return redisReaderFeed(r, empty, sizeof empty - 1) == REDIS_OK || wrong(in, r->errstr);
}

/* What is asked for counts from the beginning of a reply. */
static void begin(struct replies *in, bool build, size_t most)
{
    redisReader *r = in->reader;
    in->build = build || in->look == NULL;
    r->fn = in->build ? &building : in->look;
    in->most = most;
    in->elements = 0;
    in->cut = false;
    in->got = r->len - r->pos;
}

/* The reader has no whole reply. Returns 1 when it can go on, 0 when more has to come, -1 when something is
 * wrong. */
static int more(struct replies *in)
{
    bool cut = in->skip > 0;
    if (!guard(in))
        return -1;
    if (!cut && in->skip > 0) { /* the empty string in its place can be read at once */
        skip(in);
        return 1;
    }
    if (in->nfed == 0)
        return 0;
    return feed_reader(in) ? 1 : -1;
}

int replies_next(struct replies *in, bool build, size_t most, void **reply)
{
    redisReader *r = in->reader;
    int got = 1;
    *reply = NULL;
    if (replies_idle(in)) /* else it would begin a reply without knowing of which kind */
        return 0;
    if (reader_idle(in) && !feed_reader(in))
        return -1;
    if (r->ridx < 0)
        begin(in, build, most);
    while (got > 0) {
        if (redisReaderGetReply(r, reply) != REDIS_OK) {
            (void)wrong(in, in->elements > ELEMENTS_MOST ? "a reply has too many elements" : r->errstr);
            return -1;
        }
        if (*reply != NULL)
            return 1;
        got = more(in);
    }
    return got;
}
