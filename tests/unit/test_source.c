/* What a server answers to dfreader's handshake: well-formed or refused, and harmless in the log. */
#include <hiredis/hiredis.h>

#include "test.h"

#include "../../common/exits.h"
#include "../../reader/file/file_kind.c"
#include "../../reader/reply.c"
#include "../../reader/sessinfo.c"
#include "../../reader/dragonfly/handshake.c"

int conn_auth(struct conn *l, const struct url *u)
{
    (void)l;
    (void)u;
    return 0;
}

int conn_request(struct conn *l, int n, const char *const *args)
{
    (void)l;
    (void)n;
    (void)args;
    return 0;
}

#define ID "0123456789abcdef0123456789abcdef01234567"

static struct reply reply_of(const char *text)
{
    static struct reply r;
    void *object = NULL;
    memset(&r, 0, sizeof r);
    redisReader *reader = reply_reader(&r);
    CHECK(redisReaderFeed(reader, text, strlen(text)) == REDIS_OK);
    CHECK(redisReaderGetReply(reader, &object) == REDIS_OK && object != NULL);
    redisReaderFree(reader);
    return r;
}

static void harmless(const char *text)
{
    bool ok = text[0] != '\0';
    for (; *text != '\0'; text++)
        ok = ok && *text >= ' ' && *text <= '~' && *text != '"';
    CHECK(ok);
}

static void test_session(void)
{
    struct sessinfo s = {.flows = 0};
    struct fault f = {.status = 0};
    struct reply r = reply_of("*5\r\n+" ID "\r\n+SYNC7\r\n:4\r\n:5\r\n+" ID "\r\n");
    EQ_I(handshake_session("me", &r, &s, &f), 0);
    EQ_S(s.session, "SYNC7");
    EQ(s.flows, 4);
    static const char *const bad[] = {
        "*3\r\n+" ID "\r\n+SYNC7 x=1\r\n:4\r\n",  /* further words of a line */
        "*3\r\n+" ID "\r\n+SY\x1b[31m\r\n:4\r\n", /* for a terminal */
        "*3\r\n+0123456789abcdef0123456789abcdef0123456\"\r\n+S\r\n:4\r\n",
        "*3\r\n+" ID "\r\n+SYNC7\r\n:0\r\n",
        "*3\r\n+" ID "\r\n+SYNC7\r\n:99999\r\n",
        "*3\r\n+short\r\n+SYNC7\r\n:1\r\n",
        "*2\r\n+" ID "\r\n+SYNC7\r\n",
        "-ERR level=error \"\x1b]0;x\x07\r\n",
        "+x\x1b[2J\"\r\n",
        ":5\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f.text[0] = '\0';
        r = reply_of(bad[i]);
        EQ_I(handshake_session("me", &r, &s, &f), -1);
        harmless(f.text);
    }
}

static void test_flow(void)
{
    struct fault f = {.status = 0};
    char token[TOKEN_LEN + 1];
    bool partial;
    struct reply r = reply_of("*2\r\n+FULL\r\n+" ID "\r\n");
    EQ_I(handshake_flow(&r, false, &partial, token, &f), 0);
    CHECK(!partial);
    r = reply_of("*2\r\n+PARTIAL\r\n+" ID "\r\n");
    EQ_I(handshake_flow(&r, true, &partial, token, &f), 0);
    CHECK(partial);
    EQ_I(handshake_flow(&r, false, &partial, token, &f), -1); /* nobody asked to go on */
    r = reply_of("*2\r\n+\x1b[31m\"evil\"\r\n+" ID "\r\n");
    EQ_I(handshake_flow(&r, true, &partial, token, &f), -1);
    harmless(f.text);
    r = reply_of("*2\r\n+FULL\r\n+short\r\n");
    EQ_I(handshake_flow(&r, false, &partial, token, &f), -1);
}

static void test_kinds(void)
{
    int status;
    CHECK(file_kind_fault((const uint8_t *)"REDIS0011", 9, &status) == NULL);
    CHECK(file_kind_fault((const uint8_t *)"VALKEY080", 9, &status) == NULL);
    CHECK(strstr(file_kind_fault((const uint8_t *)"\x1f\x8b\x08", 3, &status), "gzip") != NULL);
    EQ_I(status, EXIT_USAGE);
    CHECK(file_kind_fault((const uint8_t *)"*2\r\n$6\r\nSELECT", 14, &status) == NULL); /* an AOF */
    CHECK(file_kind_fault((const uint8_t *)"#TS:1700000000\r\n", 16, &status) == NULL);
    CHECK(file_kind_fault((const uint8_t *)"*", 1, &status) == NULL);
    CHECK(file_kind_fault((const uint8_t *)"#!/bin/sh\n", 10, &status) != NULL);
    EQ_I(status, EXIT_DAMAGED);
    CHECK(strstr(file_kind_fault((const uint8_t *)"file a.aof seq 1 type b\n", 24, &status), "path") != NULL);
    EQ_I(status, EXIT_USAGE);
    CHECK(strstr(file_kind_fault((const uint8_t *)"", 0, &status), "empty") != NULL);
    EQ_I(status, EXIT_DAMAGED);
}

int main(void)
{
    test_session();
    test_flow();
    test_kinds();
    return test_done();
}
