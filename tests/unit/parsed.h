/* A whole parser that is given raw records by hand; with begin and begin_flow its control socket is a pair of
 * descriptors. The TIME of all records may be defined before. */
#ifndef PARSED_H
#define PARSED_H

#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

#include "../../common/crc64.h"
#include "../../parser/session.h"

#ifndef TIME
#define TIME UINT64_C(4000000000000000) /* to come: what expires later than this has not expired */
#endif

static struct capture cap;
static struct options opt;
static struct parser *parser;
static int peer = -1; /* the other end of the control socket, -1: there is none */
static uint64_t at;   /* in the flow: for the suites */

static inline int record_with(unsigned type, unsigned flags, uint64_t pos, const void *p, size_t n)
{
    struct rec r = {.type = (uint8_t)type,
                    .flags = (uint16_t)flags,
                    .epoch = 1,
                    .len = (uint32_t)n,
                    .pos = pos,
                    .time = TIME};
    uint8_t *copy = exact(p, n);
    int rc = parser_record(parser, &r, copy);
    free(copy);
    return rc;
}

static inline int record(unsigned type, uint64_t pos, const void *p, size_t n)
{
    return record_with(type, 0, pos, p, n);
}

static inline void open_parser(const char *target_text)
{
    capture_init(&cap);
    opt.have_target = true;
    opt.restore_limit = opt.part_size = (size_t)64 << 10;
    CHECK(target_parse(&opt.target, target_text));
    parser = calloc(1, sizeof *parser);
    parser_init(parser, &opt, cap.fd);
    parser->in_stream = true; /* no stream header: capture_text reads records */
}

static inline void wrote(const char *want)
{
    (void)emit_flush(&parser->e);
    EQ_S(capture_text(&cap), want);
}

/* A session of so many flows with a control socket, and this flow of it. */
static inline void begin_of(const char *source, unsigned flows, const char *target_text, const char *flow)
{
    char session[160];
    int fds[2];
    int n = snprintf(session, sizeof session,
                     "nonce=00000000000000000000000000000000\nsource=%s\nflows=%u\nepoch=1\njournal=1\n",
                     source, flows);
    open_parser(target_text);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    EQ_I(record(REC_SESSION, 0, session, (size_t)n), 0);
    ctl_init(&parser->ctl, fds[0]);
    peer = fds[1];
    EQ_I(record(REC_FLOW, 0, flow, strlen(flow)), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    at = 0;
}

static inline void begin_flow(const char *target_text, const char *flow)
{
    begin_of("dragonfly", 2, target_text, flow);
}

/* In the stable phase; the next entry is number 100. */
static inline void begin(const char *target_text)
{
    begin_flow(target_text, "flow=0\nmode=PARTIAL\nlsn=100\n");
}

static inline void close_parser(void)
{
    parser_free(parser);
    free(parser);
    capture_free(&cap);
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static inline void end(int status)
{
    EQ_I(parser_end(parser), status);
    close_parser();
}

/* The rest of what was asked for on the control socket, a line each. */
static inline void asked(const char *want)
{
    char got[4096];
    ssize_t n = recv(peer, got, sizeof got - 1, MSG_DONTWAIT);
    got[n > 0 ? n : 0] = '\0';
    EQ_S(got, want);
}

/* An answer of the source, in two records. head: all but the blank line. value: type and content, as hex, or
 * NULL. */
static inline void answer(const char *head, const char *value)
{
    struct buf b = {0}, v = hex(value != NULL ? value : "");
    (void)buf_addstr(&b, head);
    (void)buf_addstr(&b, "\n");
    if (value != NULL) {
        add_le(&v, 9, 2);
        add_le(&v, crc64(0, v.p, v.len), 8);
    }
    (void)buf_add(&b, v.p, v.len);
    size_t half = b.len / 2;
    EQ_I(record_with(REC_KEY, RF_MORE, 0, b.p, half), 0);
    EQ_I(record(REC_KEY, 0, b.p + half, b.len - half), 0);
    buf_free(&b);
    buf_free(&v);
}

#endif
