/* What a server sends, taken apart: the same replies come out however the bytes are cut, short ones without
 * the reader, and what is above a limit costs its place only. */
#include "test.h"

#include "../../common/hiredis_kind.h"
#include "../../writer/conn/reply.c"
#include "../../writer/engine/request.c"
#include "../../writer/target/fits.c"

#define MOST ((size_t)64)

static char seen[4096]; /* what came, in order */

static void note(const char *what)
{
    size_t n = strlen(seen);
    snprintf(seen + n, sizeof seen - n, "%s", what);
}

static void *on_string(const redisReadTask *t, char *s, size_t len)
{
    char text[128];
    snprintf(text, sizeof text,
             t->type == REDIS_REPLY_ERROR    ? "-%.*s;"
             : t->type == REDIS_REPLY_STATUS ? "+%.*s;"
                                             : "$%.*s;",
             (int)(len < 40 ? len : 40), s);
    note(text);
    return seen;
}

static void *on_array(const redisReadTask *t, hiredis_count n)
{
    char text[32];
    (void)t;
    snprintf(text, sizeof text, "*%d;", (int)n);
    note(text);
    return seen;
}

static void *on_integer(const redisReadTask *t, long long v)
{
    char text[32];
    (void)t;
    snprintf(text, sizeof text, ":%lld;", v);
    note(text);
    return seen;
}

static void *on_nil(const redisReadTask *t)
{
    (void)t;
    note("nil;");
    return seen;
}

static void on_free(void *reply)
{
    (void)reply;
}

static redisReplyObjectFunctions looks = {.createString = on_string,
                                          .createArray = on_array,
                                          .createInteger = on_integer,
                                          .createNil = on_nil,
                                          .freeObject = on_free};

/* All replies of a stream that comes in pieces of so many bytes. Returns how many of them were short. */
static unsigned feed(const char *bytes, size_t len, size_t piece)
{
    struct replies in;
    unsigned count = 0;
    seen[0] = '\0';
    CHECK(replies_open(&in, &looks, NULL));
    for (size_t at = 0; at < len; at += piece) {
        int got = 1;
        replies_feed(&in, bytes + at, len - at < piece ? len - at : piece);
        while (got > 0) {
            const char *text;
            size_t n;
            void *reply;
            if (replies_short(&in, &text, &n)) {
                char word[32];
                snprintf(word, sizeof word, "+%.*s;", (int)n, text);
                note(word);
                count++;
                continue;
            }
            got = replies_next(&in, false, MOST, &reply);
            if (got > 0 && in.cut)
                note("cut;");
        }
        CHECK(got == 0 && in.nfed == 0);
    }
    CHECK(replies_idle(&in));
    replies_close(&in);
    return count;
}

static void any_cut(void)
{
    static const char stream[] =
        "+OK\r\n+OK\r\n+QUEUED\r\n:12\r\n+OK\r\n-ERR no\r\n*3\r\n+OK\r\n$2\r\nab\r\n*1\r\n:7\r\n+OK\r\n"
        "+OKAY\r\n+QUEUE\r\n$-1\r\n+QUEUED\r\n+PONG\r\n+OK\r\n";
    static const char want[] =
        "+OK;+OK;+QUEUED;:12;+OK;-ERR no;*3;+OK;$ab;*1;:7;+OK;+OKAY;+QUEUE;nil;+QUEUED;+PONG;+OK;";
    for (size_t piece = 1; piece <= sizeof stream; piece++) {
        (void)feed(stream, sizeof stream - 1, piece);
        EQ_S(seen, want);
    }
}

/* Behind a reply that the reader got with what follows it, at most a few KiB are its own. */
static void mostly_short(void)
{
    static char stream[60000];
    size_t n = 0;
    memcpy(stream, ":1\r\n", 4);
    for (n = 4; n + 5 <= sizeof stream; n += 5)
        memcpy(stream + n, "+OK\r\n", 5);
    unsigned all = (unsigned)((n - 4) / 5), count = feed(stream, n, n);
    CHECK(count >= all - (4096 + 4) / 5 && count < all);
}

/* A string above the limit, whose bytes look like replies. */
static void too_long(void)
{
    static char stream[40000];
    size_t n = (size_t)snprintf(stream, sizeof stream, "+OK\r\n$30000\r\n");
    while (n < 30013)
        n += (size_t)snprintf(stream + n, sizeof stream - n, "+OK\r\n:5\r\n");
    n = (size_t)(strstr(stream, "$30000") - stream) + 8 + 30000;
    n += (size_t)snprintf(stream + n, sizeof stream - n, "\r\n+OK\r\n:9\r\n");
    for (size_t piece = 1; piece <= n; piece += piece < 40 ? 1 : 977) {
        (void)feed(stream, n, piece);
        EQ_S(seen, "+OK;$;cut;+OK;:9;");
    }
}

/* One that is built, of many pieces. */
static void built(void)
{
    static char stream[60000];
    struct replies in;
    void *reply = NULL;
    size_t n = (size_t)snprintf(stream, sizeof stream, "*3000\r\n");
    for (int i = 0; i < 3000; i++)
        n += (size_t)snprintf(stream + n, sizeof stream - n, "$4\r\n%04d\r\n", i);
    n += (size_t)snprintf(stream + n, sizeof stream - n, "+OK\r\n");
    CHECK(replies_open(&in, &looks, NULL));
    replies_feed(&in, stream, n);
    CHECK(replies_next(&in, true, (size_t)1 << 20, &reply) == 1);
    const redisReply *r = reply;
    CHECK(r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == 3000);
    CHECK(r != NULL && strcmp(r->element[2999]->str, "2999") == 0);
    freeReplyObject(reply);
    CHECK(!replies_idle(&in));
    CHECK(replies_next(&in, true, (size_t)1 << 20, &reply) == 1);
    freeReplyObject(reply);
    CHECK(replies_idle(&in));
    replies_close(&in);
}

static bool fits(const char *name, int type)
{
    char request[64];
    int n = snprintf(request, sizeof request, "*1\r\n$%zu\r\n%s\r\n", strlen(name), name);
    return reply_fits((const uint8_t *)request, (size_t)n, type);
}

static bool alters(const char *name)
{
    char request[64];
    int n = snprintf(request, sizeof request, "*1\r\n$%zu\r\n%s\r\n", strlen(name), name);
    return request_alters_connection((const uint8_t *)request, (size_t)n);
}

static void by_name(void)
{
    CHECK(fits("INCR", REDIS_REPLY_INTEGER) && !fits("incr", REDIS_REPLY_STATUS));
    CHECK(fits("ZREMRANGEBYSCORE", REDIS_REPLY_INTEGER) && !fits("ZREMRANGEBYSCORE", REDIS_REPLY_STATUS));
    CHECK(fits("HPEXPIREAT", REDIS_REPLY_ARRAY) && !fits("DEL", REDIS_REPLY_STATUS));
    CHECK(fits("ZREMRANGEBYSCORES", REDIS_REPLY_STATUS) && fits("", REDIS_REPLY_STATUS) &&
          fits("FOO", REDIS_REPLY_NIL));
    for (size_t i = 0; i <= LONGEST; i++)
        for (const struct command *c = by_length[i]; c != NULL && c->name[0] != '\0'; c++)
            CHECK(strlen(c->name) == i);
    CHECK(alters("MULTI") && alters("exec") && alters("Select") && alters("PSUBSCRIBE") &&
          alters("SSUBSCRIBE"));
    CHECK(!alters("SET") && !alters("MULTIX") && !alters("") && !alters("PSUBSCRIBES") && !alters("ECHO"));
}

int main(void)
{
    any_cut();
    mostly_short();
    too_long();
    built();
    by_name();
    return test_done();
}
