/* Masters of a cluster that has no data: masters PORT NUMBER listens on so many ports from that one on, each
 * a master with its share of the slots. Each answers what dfreader asks, gives an empty snapshot, and sends
 * each replica one SET a second, of a key of its own. tests/many/run uses it. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bsd/stdlib.h>

#include "buf.h"
#include "io.h"
#include "slot.h"

#define MASTERS_MAX 1024
#define ARGS_MAX    8
#define OUT_MAX     ((size_t)64 << 20)
#define SECOND      ((uint64_t)1000000)

struct master {
    int fd;
    unsigned number;
    uint64_t offset;
    char replid[41];
    char key[64];
    char line[160]; /* of CLUSTER NODES, as the master itself says it */
};

struct client {
    int fd;
    struct master *master;
    bool replica;
    bool multi;
    char in[4096];
    size_t have;
    struct buf out, queued;
    unsigned nqueued;
    struct client *next; /* of the replicas */
};

struct cluster {
    int epoll;
    unsigned masters, port;
    struct master master[MASTERS_MAX];
    struct buf nodes;                /* all lines, as others say them */
    size_t line_at[MASTERS_MAX + 1]; /* where each of them begins */
    struct client *replicas;
};

static const uint8_t snapshot[] = {'R', 'E', 'D', 'I', 'S', '0', '0', '1', '0', 0xff, 0, 0, 0, 0, 0, 0, 0, 0};

/* ---- answers ---- */

static void add_bulk(struct buf *b, const void *p, size_t n)
{
    (void)buf_addf(b, "$%zu\r\n", n);
    (void)buf_add(b, p, n);
    (void)buf_addstr(b, "\r\n");
}

static void add_info(struct buf *b, const struct master *m)
{
    char text[400];
    int n = snprintf(text, sizeof text,
                     "redis_version:7.2.4\r\nrun_id:%s\r\nrole:master\r\nmaster_replid:%s\r\n"
                     "master_replid2:%040d\r\nmaster_repl_offset:%llu\r\n",
                     m->replid, m->replid, 0, (unsigned long long)m->offset);
    add_bulk(b, text, (size_t)n);
}

static void add_nodes(const struct cluster *c, struct buf *b, const struct master *m)
{
    size_t from = c->line_at[m->number], to = c->line_at[m->number + 1], own = strlen(m->line);
    (void)buf_addf(b, "$%zu\r\n", c->nodes.len - (to - from) + own);
    (void)buf_add(b, c->nodes.p, from);
    (void)buf_add(b, m->line, own);
    (void)buf_add(b, c->nodes.p + to, c->nodes.len - to);
    (void)buf_addstr(b, "\r\n");
}

static void begin_replica(struct cluster *c, struct client *k, const char *replid)
{
    struct master *m = k->master;
    if (strcmp(replid, m->replid) == 0) {
        (void)buf_addf(&k->out, "+CONTINUE %s\r\n", m->replid);
    } else {
        (void)buf_addf(&k->out, "+FULLRESYNC %s %llu\r\n$%zu\r\n", m->replid, (unsigned long long)m->offset,
                       sizeof snapshot);
        (void)buf_add(&k->out, snapshot, sizeof snapshot);
    }
    k->replica = true;
    k->next = c->replicas;
    c->replicas = k;
}

/* A question; its answer goes to b. False: it is none. */
static bool answer(const struct cluster *c, const struct master *m, struct buf *b, int argc, char **argv)
{
    if (strcasecmp(argv[0], "INFO") == 0)
        add_info(b, m);
    else if (argc == 2 && strcasecmp(argv[0], "CLUSTER") == 0 && strcasecmp(argv[1], "NODES") == 0)
        add_nodes(c, b, m);
    else
        return false;
    return true;
}

static void execute(struct cluster *c, struct client *k, int argc, char **argv)
{
    if (strcasecmp(argv[0], "MULTI") == 0) {
        k->multi = true;
        k->queued.len = k->nqueued = 0;
        (void)buf_addstr(&k->out, "+OK\r\n");
    } else if (strcasecmp(argv[0], "EXEC") == 0) {
        k->multi = false;
        (void)buf_addf(&k->out, "*%u\r\n", k->nqueued);
        (void)buf_add(&k->out, k->queued.p, k->queued.len);
    } else if (answer(c, k->master, k->multi ? &k->queued : &k->out, argc, argv)) {
        k->nqueued++;
        if (k->multi)
            (void)buf_addstr(&k->out, "+QUEUED\r\n");
    } else if (strcasecmp(argv[0], "PSYNC") == 0 && argc == 3) {
        begin_replica(c, k, argv[1]);
    } else if (strcasecmp(argv[0], "REPLCONF") == 0) {
        if (argc < 2 || strcasecmp(argv[1], "ACK") != 0)
            (void)buf_addstr(&k->out, "+OK\r\n");
    } else if (strcasecmp(argv[0], "PING") == 0) {
        (void)buf_addstr(&k->out, "+PONG\r\n");
    } else {
        (void)buf_addstr(&k->out, "-ERR unknown command\r\n");
    }
}

/* ---- connections ---- */

static void drop(struct cluster *c, struct client *k)
{
    for (struct client **p = &c->replicas; *p != NULL; p = &(*p)->next)
        if (*p == k) {
            *p = k->next;
            break;
        }
    close(k->fd);
    buf_free(&k->out);
    buf_free(&k->queued);
    free(k);
}

/* False: it is gone. */
static bool send_out(struct cluster *c, struct client *k)
{
    ssize_t n = k->out.len > 0 ? send(k->fd, k->out.p, k->out.len, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN)
        return false;
    if (n > 0) {
        memmove(k->out.p, k->out.p + n, k->out.len - (size_t)n);
        k->out.len -= (size_t)n;
    }
    struct epoll_event ev = {.events = EPOLLIN | (k->out.len > 0 ? (uint32_t)EPOLLOUT : 0), .data.ptr = k};
    return epoll_ctl(c->epoll, EPOLL_CTL_MOD, k->fd, &ev) == 0;
}

/* One request at p: how long it is; 0: not all of it is there. */
static size_t take_request(char *p, size_t n, int *argc, char **argv)
{
    char *at, *end = p + n, *nl = memchr(p, '\n', n);
    if (nl == NULL || *p != '*')
        return 0;
    *argc = atoi(p + 1);
    at = nl + 1;
    for (int i = 0; i < *argc; i++) {
        if (at >= end || (nl = memchr(at, '\n', (size_t)(end - at))) == NULL)
            return 0;
        size_t len = strtoul(at + 1, NULL, 10);
        at = nl + 1;
        if (len > (size_t)(end - at) || (size_t)(end - at) - len < 2)
            return 0;
        if (i < ARGS_MAX)
            argv[i] = at;
        at[len] = '\0'; /* where \r was */
        at += len + 2;
    }
    return (size_t)(at - p);
}

static bool serve(struct cluster *c, struct client *k)
{
    ssize_t n = recv(k->fd, k->in + k->have, sizeof k->in - 1 - k->have, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        return false;
    k->have += n > 0 ? (size_t)n : 0;
    for (;;) {
        char copy[sizeof k->in], *argv[ARGS_MAX];
        int argc = 0;
        memcpy(copy, k->in, k->have);
        size_t len = take_request(copy, k->have, &argc, argv);
        if (len == 0)
            return k->have < sizeof k->in - 1 && send_out(c, k);
        if (argc < 1 || argc > ARGS_MAX)
            return false;
        execute(c, k, argc, argv);
        memmove(k->in, k->in + len, k->have - len);
        k->have -= len;
    }
}

static void take_client(struct cluster *c, struct master *m)
{
    int fd = accept4(m->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct client *k = xcalloc(1, sizeof *k);
    k->fd = fd;
    k->master = m;
    k->out.max = k->queued.max = OUT_MAX;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = k};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        err(1, "epoll_ctl");
}

/* ---- the masters ---- */

static void make_lines(struct cluster *c)
{
    c->nodes.max = OUT_MAX;
    for (unsigned i = 0; i < c->masters; i++) {
        struct master *m = &c->master[i];
        unsigned first = i * SLOTS / c->masters, last = (i + 1) * SLOTS / c->masters - 1;
        char tag[SLOT_TAG_MAX], id[sizeof m->replid];
        slot_tag(first, tag);
        m->number = i;
        m->offset = 1;
        snprintf(id, sizeof id, "%040x", i + 1);
        memcpy(m->replid, id, sizeof id);
        snprintf(m->key, sizeof m->key, "{%s}:%u", tag, i);
        snprintf(m->line, sizeof m->line, "%s 127.0.0.1:%u@%u myself,master - 0 0 %u connected %u-%u\n", id,
                 c->port + i, c->port + i, i + 1, first, last);
        c->line_at[i] = c->nodes.len;
        (void)buf_addf(&c->nodes, "%s 127.0.0.1:%u@%u master - 0 0 %u connected %u-%u\n", m->replid,
                       c->port + i, c->port + i, i + 1, first, last);
    }
    c->line_at[c->masters] = c->nodes.len;
}

static void listen_on(struct cluster *c, struct master *m)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(c->port + m->number)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int yes = 1;
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m->fd < 0 || setsockopt(m->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(m->fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(m->fd, 128) < 0)
        err(1, "port %u", c->port + m->number);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = m};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, m->fd, &ev) < 0)
        err(1, "epoll_ctl");
}

/* Each master writes once; its replicas are told. */
static void write_once(struct cluster *c, unsigned turn)
{
    char text[200];
    for (struct client *k = c->replicas, *next; k != NULL; k = next) {
        next = k->next;
        int n = snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$8\r\n%08u\r\n",
                         strlen(k->master->key), k->master->key, turn % 100000000);
        (void)buf_add(&k->out, text, (size_t)n);
        if (!send_out(c, k))
            drop(c, k);
    }
    for (unsigned i = 0; i < c->masters; i++) /* as long for each of its replicas, and where it has none */
        c->master[i].offset +=
            (uint64_t)snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$8\r\n%08u\r\n",
                               strlen(c->master[i].key), c->master[i].key, turn % 100000000);
}

static bool is_master(const struct cluster *c, const void *p)
{
    return p >= (const void *)c->master && p < (const void *)(c->master + MASTERS_MAX);
}

static void run(struct cluster *c)
{
    struct epoll_event ev[64];
    uint64_t due = mono_us() + SECOND;
    for (unsigned turn = 1;;) {
        int n = epoll_wait(c->epoll, ev, 64, 100);
        for (int i = 0; i < n; i++) {
            void *p = ev[i].data.ptr;
            if (is_master(c, p))
                take_client(c, p);
            else if ((ev[i].events & ~(uint32_t)EPOLLOUT) != 0 ? !serve(c, p) : !send_out(c, p))
                drop(c, p);
        }
        if (mono_us() >= due) {
            due += SECOND;
            write_once(c, turn++);
        }
    }
}

int main(int argc, char **argv)
{
    static struct cluster c;
    const char *fault = NULL;
    if (argc != 3)
        errx(2, "usage: masters PORT NUMBER");
    c.port = (unsigned)strtonum(argv[1], 1, 65535 - MASTERS_MAX, &fault);
    if (fault == NULL)
        c.masters = (unsigned)strtonum(argv[2], 1, MASTERS_MAX, &fault);
    if (fault != NULL)
        errx(2, "PORT or NUMBER is %s", fault);
    c.epoll = epoll_create1(EPOLL_CLOEXEC);
    make_lines(&c);
    for (unsigned i = 0; i < c.masters; i++)
        listen_on(&c, &c.master[i]);
    printf("ready\n");
    fflush(stdout);
    run(&c);
}
