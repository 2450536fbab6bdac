/*
 * probe: looks at raw streams and speaks on control sockets, for tests only.
 *
 *   probe records FILE        one line a record: type, flow, epoch, position, length, and the text of
 * metadata and of KEY records (their value as length and checksum, once it is whole) probe sum such a
 * checksum of standard input probe data FILE FLOW      the bytes of the DATA records of a flow, last epoch
 *   probe talk SOCKET HELLO   connect, "hello HELLO", send the lines of standard input, print what comes
 * until the socket is closed. A line "wait SECONDS" is not sent but waited for, "until TEXT" waits for a line
 * that has TEXT in it; at the end of input it stays connected as long as the other side does, unless the last
 * line is "quit"
 */
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "io.h"
#include "record.h"

static void put_line(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        putchar(p[i] == '\n' ? ' ' : p[i]);
}

#define SUM_BEGIN 14695981039346656037ULL

/* A KEY record: the head of the first one, then a sum of the value at the end of the last one. */
struct key {
    bool open;
    uint64_t bytes, sum;
};

static uint64_t add_sum(uint64_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 1099511628211ULL;
    return sum;
}

static void show_key(struct key *k, const struct rec *r, const uint8_t *p)
{
    size_t n = r->len;
    if (!k->open) {
        const uint8_t *end = memmem(p, n, "\n\n", 2);
        size_t head = end != NULL ? (size_t)(end - p) + 2 : n;
        put_line(p, head > 0 ? head - 1 : 0);
        p += head;
        n -= head;
        *k = (struct key){.open = true, .sum = SUM_BEGIN};
    }
    k->sum = add_sum(k->sum, p, n);
    k->bytes += n;
    if ((r->flags & RF_MORE) == 0) {
        printf("bytes=%llu sum=%016llx", (unsigned long long)k->bytes, (unsigned long long)k->sum);
        k->open = false;
    }
}

static int next(struct recin *in, struct rec *r, const uint8_t **payload)
{
    for (;;) {
        switch (recin_next(in, r, payload)) {
        case RECIN_RECORD: return 1;
        case RECIN_STREAM: continue;
        case RECIN_END: return 0;
        case RECIN_CUT: return 0;
        case RECIN_DAMAGED: errx(1, "%s", in->error);
        case RECIN_MORE:
            if (recin_fill(in) < 0)
                err(1, "read");
        }
    }
}

static void open_records(struct recin *in, const char *path)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY);
    if (fd < 0)
        err(1, "%s", path);
    recin_init(in, fd, KIND_RAW);
}

static void records(const char *path)
{
    static struct key keys[REC_FLOWS_MAX];
    struct recin in;
    struct rec r;
    const uint8_t *payload;
    open_records(&in, path);
    while (next(&in, &r, &payload)) {
        printf("%s flow=%u epoch=%u pos=%llu len=%u db=%u more=%d ", rec_type_name(r.type), r.flow, r.epoch,
               (unsigned long long)r.pos, r.len, r.db, (r.flags & RF_MORE) != 0);
        if (r.type == REC_KEY)
            show_key(&keys[r.flow % REC_FLOWS_MAX], &r, payload);
        else if (r.type != REC_DATA)
            put_line(payload, r.len);
        putchar('\n');
    }
    recin_free(&in);
}

static void data(const char *path, unsigned flow)
{
    struct recin in;
    struct rec r;
    const uint8_t *payload;
    unsigned epoch = 0;
    open_records(&in, path);
    while (next(&in, &r, &payload))
        epoch = r.epoch;
    if (lseek(in.fd, 0, SEEK_SET) != 0)
        err(1, "%s: only a file has a last epoch", path);
    int fd = in.fd;
    recin_free(&in);
    recin_init(&in, fd, KIND_RAW);
    while (next(&in, &r, &payload))
        if (r.type == REC_DATA && r.flow == flow && r.epoch == epoch && io_write_all(1, payload, r.len) != 0)
            err(1, "write");
    recin_free(&in);
}

/* Print what comes for so long, or until a line has text in it, or (text NULL and ms < 0) for ever. */
static void listen_for(struct ctl *c, int ms, const char *text)
{
    uint64_t end = mono_us() + (uint64_t)(ms > 0 ? ms : 0) * 1000;
    for (;;) {
        char *line;
        while ((line = ctl_line(c)) != NULL) {
            puts(line);
            fflush(stdout);
            if (text != NULL && strstr(line, text) != NULL)
                return;
        }
        uint64_t now = mono_us();
        if (ms >= 0 && now >= end) {
            if (text != NULL)
                errx(1, "no line with %s", text);
            return;
        }
        struct pollfd pf = {.fd = c->fd, .events = POLLIN};
        (void)poll(&pf, 1, ms < 0 ? 1000 : (int)((end - now) / 1000) + 1);
        if (ctl_flush(c) < 0 || ctl_fill(c) < 0) {
            puts("closed");
            ctl_close(c);
            exit(text != NULL);
        }
    }
}

/* Everything that was said is on its way. */
static void drain(struct ctl *c)
{
    while (!ctl_idle(c)) {
        struct pollfd pf = {.fd = c->fd, .events = POLLOUT};
        (void)poll(&pf, 1, 1000);
        if (ctl_flush(c) < 0)
            errx(1, "the other side has gone");
    }
}

static void talk(const char *path, const char *hello)
{
    struct ctl c;
    char answer[CTL_LINE_MAX] = "", line[CTL_LINE_MAX] = "";
    if (ctl_hello(&c, path, hello, 5000, answer, sizeof answer) < 0) {
        puts(answer);
        exit(1);
    }
    puts(answer);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "wait ", 5) == 0)
            listen_for(&c, (int)(atof(line + 5) * 1000), NULL);
        else if (strncmp(line, "until ", 6) == 0)
            listen_for(&c, 10000, line + 6);
        else if (strcmp(line, "quit") == 0)
            break;
        else if (ctl_send(&c, "%s", line) < 0)
            errx(1, "the other side has gone");
        else
            drain(&c);
    }
    if (strcmp(line, "quit") != 0)
        listen_for(&c, -1, NULL);
    ctl_close(&c);
}

static void sum(void)
{
    uint8_t piece[65536];
    uint64_t all = SUM_BEGIN;
    ssize_t n;
    while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0)
        all = add_sum(all, piece, (size_t)n);
    printf("sum=%016llx\n", (unsigned long long)all);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "records") == 0)
        records(argv[2]);
    else if (argc == 4 && strcmp(argv[1], "data") == 0)
        data(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    else if (argc == 4 && strcmp(argv[1], "talk") == 0)
        talk(argv[2], argv[3]);
    else if (argc == 2 && strcmp(argv[1], "sum") == 0)
        sum();
    else
        errx(2, "usage: probe records FILE | sum | data FILE FLOW | talk SOCKET HELLO");
    return fflush(stdout) == 0 ? 0 : 1;
}
