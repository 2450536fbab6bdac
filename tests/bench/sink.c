/* A server for benchmarks: it parses every request, keeps nothing, and answers at once. It knows as much of
 * Redis as rediswriter asks for at the start. One connection at a time; prints "port=N", and for each
 * connection what it got. */
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_MAX  ((size_t)4 << 20)
#define OUT_MAX ((size_t)1 << 20)
#define QUEUED  8192u /* requests of a transaction */

struct sink {
    int fd;
    uint8_t *in;
    size_t len;
    char *out;
    size_t outlen;
    bool multi;
    unsigned queued;
    bool integer[QUEUED]; /* what EXEC answers to each */
    unsigned client_calls;
    uint64_t requests, bytes;
};

static void flush(struct sink *s)
{
    for (size_t at = 0; at < s->outlen;) {
        ssize_t n = write(s->fd, s->out + at, s->outlen - at);
        if (n <= 0)
            break; /* the peer has gone: read says so next */
        at += (size_t)n;
    }
    s->outlen = 0;
}

static void say(struct sink *s, const char *text)
{
    size_t n = strlen(text);
    if (s->outlen + n > OUT_MAX)
        flush(s);
    memcpy(s->out + s->outlen, text, n);
    s->outlen += n;
}

static bool is(const uint8_t *name, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(name, word, n) == 0;
}

static void say_info(struct sink *s)
{
    static const char info[] = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"
                               "run_id:5151515151515151515151515151515151515151\r\nrole:master\r\n";
    char head[32];
    snprintf(head, sizeof head, "$%zu\r\n", sizeof info - 1);
    say(s, head);
    say(s, info);
    say(s, "\r\n");
}

/* CLIENT SETNAME, CLIENT ID, CLIENT LIST, in this order. */
static void say_client(struct sink *s)
{
    static const char *const answers[] = {"+OK\r\n", ":1\r\n", "$0\r\n\r\n"};
    say(s, answers[s->client_calls++ % 3]);
}

static void say_exec(struct sink *s)
{
    char head[32];
    snprintf(head, sizeof head, "*%u\r\n", s->queued);
    say(s, head);
    for (unsigned i = 0; i < s->queued; i++)
        say(s, s->integer[i] ? ":0\r\n" : "+OK\r\n");
    s->multi = false;
}

static void say_nulls(struct sink *s, size_t n)
{
    char head[32];
    snprintf(head, sizeof head, "*%zu\r\n", n);
    say(s, head);
    for (size_t i = 0; i < n; i++)
        say(s, "$-1\r\n");
}

static void say_bulk(struct sink *s, const uint8_t *text, size_t n)
{
    char whole[300];
    if (n > 256)
        errx(1, "ECHO of %zu bytes", n);
    snprintf(whole, sizeof whole, "$%zu\r\n%.*s\r\n", n, (int)n, (const char *)text);
    say(s, whole);
}

/* last: the last argument. */
static void answer(struct sink *s, const uint8_t *name, size_t n, size_t argc, const uint8_t *last,
                   size_t last_len)
{
    bool integer = is(name, n, "HSET") || is(name, n, "DEL");
    if (is(name, n, "EXEC")) {
        say_exec(s);
    } else if (s->multi) {
        if (s->queued == QUEUED)
            errx(1, "a transaction of more than %u requests", QUEUED);
        s->integer[s->queued++] = integer;
        say(s, "+QUEUED\r\n");
    } else if (is(name, n, "MULTI")) {
        s->multi = true;
        s->queued = 0;
        say(s, "+OK\r\n");
    } else if (is(name, n, "INFO")) {
        say_info(s);
    } else if (is(name, n, "ECHO")) {
        say_bulk(s, last, last_len);
    } else if (is(name, n, "CLIENT")) {
        say_client(s);
    } else if (is(name, n, "MODULE") || is(name, n, "CONFIG") || is(name, n, "HGETALL")) {
        say(s, "*0\r\n");
    } else if (is(name, n, "SCAN")) {
        say(s, "*2\r\n$1\r\n0\r\n*0\r\n");
    } else if (is(name, n, "HMGET")) {
        say_nulls(s, argc > 2 ? argc - 2 : 0);
    } else {
        say(s, integer ? ":0\r\n" : "+OK\r\n");
    }
}

/* "<type><digits>\r\n" at *p. */
static bool number(const uint8_t **p, const uint8_t *end, char type, size_t *out)
{
    const uint8_t *q = *p;
    size_t v = 0;
    if (q >= end)
        return false;
    if (*q++ != (uint8_t)type)
        errx(1, "no RESP request");
    while (q < end && *q >= '0' && *q <= '9')
        v = v * 10 + (size_t)(*q++ - '0');
    if (end - q < 2)
        return false;
    *p = q + 2;
    *out = v;
    return true;
}

/* One whole request at *p. */
static bool request(struct sink *s, const uint8_t **p, const uint8_t *end)
{
    const uint8_t *q = *p, *name = NULL, *last = NULL;
    size_t argc, n = 0, name_len = 0;
    if (!number(&q, end, '*', &argc))
        return false;
    for (size_t i = 0; i < argc; i++) {
        if (!number(&q, end, '$', &n) || (size_t)(end - q) < n + 2)
            return false;
        if (i == 0) {
            name = q;
            name_len = n;
        }
        last = q;
        q += n + 2;
    }
    *p = q;
    s->requests++;
    answer(s, name, name_len, argc, last, n);
    return true;
}

static void serve(struct sink *s)
{
    for (;;) {
        ssize_t n = read(s->fd, s->in + s->len, IN_MAX - s->len);
        if (n <= 0)
            return;
        s->len += (size_t)n;
        s->bytes += (uint64_t)n;
        const uint8_t *p = s->in, *end = s->in + s->len;
        while (p < end && request(s, &p, end))
            ;
        flush(s);
        s->len = (size_t)(end - p);
        memmove(s->in, p, s->len);
    }
}

int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int one = 1, ls = socket(AF_INET, SOCK_STREAM, 0);
    if (ls < 0 || bind(ls, (struct sockaddr *)&a, sizeof a) != 0 || listen(ls, 8) != 0 ||
        getsockname(ls, (struct sockaddr *)&a, &len) != 0)
        err(1, "listen");
    printf("port=%u\n", (unsigned)ntohs(a.sin_port));
    fflush(stdout);
    struct sink s = {.in = malloc(IN_MAX), .out = malloc(OUT_MAX)};
    if (s.in == NULL || s.out == NULL)
        err(1, "malloc");
    for (;;) {
        s.fd = accept(ls, NULL, NULL);
        if (s.fd < 0)
            err(1, "accept");
        setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        s.len = s.outlen = 0;
        s.multi = false;
        s.client_calls = 0;
        s.requests = s.bytes = 0;
        serve(&s);
        close(s.fd);
        printf("requests=%llu bytes=%llu\n", (unsigned long long)s.requests, (unsigned long long)s.bytes);
        fflush(stdout);
    }
}
