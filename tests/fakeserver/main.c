/* fakeredis: connections, and what is not about keys. fakeredis --help describes it. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"
#include "io.h"
#include "slot.h"

#define CLIENTS_MAX 128
#define REQUEST_MAX ((size_t)1 << 30)

static const char help[] =
    "usage: fakeredis [option ...]\n"
    "\n"
    "Listens on free ports of 127.0.0.1, prints port=N for each node and then ready.\n"
    "\n"
    "  --nodes N        nodes (1) that share one data set\n"
    "  --cluster        it is a cluster: the nodes have equal shares of the slots\n"
    "  --rule RULE      COMMAND[ ARG][@NODE][#N|#N-M|#N-]=ACTION: what happens at a command, of those that "
    "match\n"
    "                   the Nth. Nodes count from 0. Actions: raw:BYTES, after:BYTES, before:BYTES, close,\n"
    "                   do (and close), silent, dribble:BYTE, huge:BYTES, moved:NODE, ask:NODE, gone, pass.\n"
    "                   BYTES may hold \\r, \\n and \\xHH. The first rule counts whose turn it is\n"
    "  --dragonfly      it is a Dragonfly: INFO says so, and a transaction neither changes the database\n"
    "                   (an error in the reply to EXEC, which carries out the rest) nor flushes (it is "
    "refused)\n"
    "  --info TEXT      INFO, whichever section is asked for\n"
    "  --slots TEXT     the reply to CLUSTER SLOTS, as it goes on the wire; %N$ stands for node N's port\n"
    "  --log FILE       a line per command: node, connection, command and first argument\n"
    "  --unix PATH      listen there, accept nobody, and let the queue be full\n";

struct client {
    int fd;
    unsigned node, id, db;
    struct buf in, out;
    uint64_t huge; /* bytes x that follow out */
    bool multi, executing, silent, closing, aborted;
    struct buf queue; /* requests of MULTI */
    unsigned queued;
    uint8_t dribble;
    char name[128];
};

struct server {
    struct options o;
    int listener[NODES_MAX];
    unsigned port[NODES_MAX];
    struct client *client[CLIENTS_MAX];
    unsigned nclients, next_id;
    FILE *log;
};

static int listen_on(unsigned *port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        err(1, "listen");
    *port = ntohs(sa.sin_port);
    return fd;
}

/* ---- replies ---- */

static long long uptime(void)
{
    static time_t began;
    if (began == 0)
        began = time(NULL);
    return time(NULL) - began;
}

static void add_info(struct server *s, struct client *c, struct buf *out)
{
    struct buf b = {0};
    if (s->o.info != NULL) {
        unescape(&b, s->o.info);
    } else {
        (void)buf_addf(&b, "# Server\r\nredis_version:7.%s\r\nredis_mode:%s\r\n",
                       s->o.dragonfly ? "4.0\r\ndragonfly_version:df-v1.40.0" : "0.15",
                       s->o.cluster ? "cluster" : "standalone");
        if (!s->o.dragonfly)
            (void)buf_addf(&b, "run_id:%040u\r\n", s->port[c->node]);
        else
            (void)buf_addf(&b, "process_id:%d\r\nuptime_in_seconds:%lld\r\n", getpid(), uptime());
        (void)buf_addf(&b, "# Replication\r\nrole:master\r\nmaster_replid:%040u\r\n# Keyspace\r\n",
                       s->port[c->node]);
        for (unsigned i = 0; i < DBS; i++)
            if (store_size(i) > 0)
                (void)buf_addf(&b, "db%u:keys=%u,expires=0,avg_ttl=0\r\n", i, store_size(i));
    }
    (void)resp_add_bulk(out, b.p, b.len);
    buf_free(&b);
}

static void add_slots(struct server *s, struct buf *out)
{
    if (s->o.slots != NULL) {
        for (const char *p = s->o.slots; *p != '\0'; p++) {
            char one[2] = {*p, '\0'};
            if (p[0] == '%' && p[1] >= '0' && p[1] < '0' + NODES_MAX && p[2] == '$') {
                (void)buf_addf(out, "%u", s->port[p[1] - '0']);
                p += 2;
            } else if (p[0] == '\\' && p[1] == 'r') {
                (void)buf_addstr(out, "\r");
                p++;
            } else if (p[0] == '\\' && p[1] == 'n') {
                (void)buf_addstr(out, "\n");
                p++;
            } else {
                (void)buf_addstr(out, one);
            }
        }
        return;
    }
    (void)resp_add_array(out, s->o.nodes);
    for (unsigned i = 0; i < s->o.nodes; i++) {
        (void)buf_addf(out, "*3\r\n:%u\r\n:%u\r\n*3\r\n", i * SLOTS / s->o.nodes,
                       (i + 1) * SLOTS / s->o.nodes - 1);
        (void)resp_add_str(out, "127.0.0.1");
        (void)buf_addf(out, ":%u\r\n$40\r\n%040u\r\n", s->port[i], i);
    }
}

static void add_client(struct server *s, struct client *c, const struct slice *a, unsigned n, struct buf *out)
{
    struct buf b = {0};
    if (n > 1 && slice_is(&a[1], "ID")) {
        (void)buf_addf(out, ":%u\r\n", c->id);
    } else if (n > 1 && slice_is(&a[1], "LIST")) {
        for (unsigned i = 0; i < s->nclients; i++)
            if (s->client[i]->node == c->node)
                (void)buf_addf(&b, "id=%u name=%s\n", s->client[i]->id, s->client[i]->name);
        (void)resp_add_bulk(out, b.p != NULL ? b.p : (const uint8_t *)"", b.len);
        buf_free(&b);
    } else if (n > 2 && slice_is(&a[1], "SETNAME")) {
        snprintf(c->name, sizeof c->name, "%.*s", (int)a[2].n, (const char *)a[2].p);
        (void)buf_addstr(out, "+OK\r\n");
    } else {
        for (unsigned i = 0; i < s->nclients && n > 3 && slice_is(&a[1], "KILL"); i++)
            s->client[i]->closing |= s->client[i]->id == (unsigned)strtoul((const char *)a[3].p, NULL, 10);
        (void)buf_addstr(out, ":1\r\n");
    }
}

static void change_db(const struct server *s, struct client *c, const struct slice *index, struct buf *out)
{
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)(index->n < 15 ? index->n : 15), (const char *)index->p);
    unsigned db = (unsigned)strtoul(text, NULL, 10);
    if (db >= DBS) {
        (void)buf_addstr(out, "-ERR DB index is out of range\r\n");
    } else if (s->o.dragonfly && c->executing && db != c->db) {
        (void)buf_addstr(out, "-ERR SELECT is not allowed in regular EXEC/EVAL\r\n");
    } else {
        c->db = db;
        (void)buf_addstr(out, "+OK\r\n");
    }
}

static void execute(struct server *s, struct client *c, const struct slice *a, unsigned n, struct buf *out)
{
    store_select(c->db);
    if (slice_is(a, "INFO"))
        add_info(s, c, out);
    else if (slice_is(a, "SELECT") && n == 2)
        change_db(s, c, &a[1], out);
    else if (slice_is(a, "CLIENT"))
        add_client(s, c, a, n, out);
    else if (slice_is(a, "MODULE"))
        (void)buf_addstr(out, "*0\r\n");
    else if (slice_is(a, "CONFIG"))
        (void)buf_addstr(out, "*2\r\n$18\r\nproto-max-bulk-len\r\n$9\r\n536870912\r\n");
    else if (slice_is(a, "ECHO") && n == 2)
        (void)resp_add_bulk(out, a[1].p, a[1].n);
    else if (slice_is(a, "WAIT"))
        (void)buf_addstr(out, ":0\r\n");
    else if (slice_is(a, "SCAN")) {
        (void)buf_addstr(out, "*2\r\n$1\r\n0\r\n");
        store_keys(out);
    } else if (slice_is(a, "CLUSTER") && n > 1 && slice_is(&a[1], "SLOTS"))
        add_slots(s, out);
    else
        store_command(a, n, out);
}

/* ---- transactions ---- */

/* A number behind type, and the line's end. NULL: not there, or not whole. */
static const uint8_t *take_number(const uint8_t *p, const uint8_t *end, uint8_t type, size_t *n)
{
    const uint8_t *line = p != NULL && p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    if (line == NULL || *p != type)
        return NULL;
    *n = strtoul((const char *)p + 1, NULL, 10);
    return line + 1;
}

/* The first request of what came. Returns its arguments, 0: it is not whole. */
static unsigned split(const uint8_t *p, size_t len, struct slice *a, size_t *used)
{
    const uint8_t *end = p + len, *begin = p;
    size_t n = 0, k = 0;
    p = take_number(p, end, '*', &n);
    if (n > ARGS_MAX)
        errx(1, "a request of %zu arguments", n);
    for (size_t i = 0; i < n; i++) {
        p = take_number(p, end, '$', &k);
        if (p == NULL || (size_t)(end - p) < k + 2)
            return 0;
        a[i] = (struct slice){p, k};
        p += k + 2;
    }
    *used = p != NULL ? (size_t)(p - begin) : 0;
    return (unsigned)n;
}

static void exec(struct server *s, struct client *c, struct buf *out)
{
    static struct slice a[ARGS_MAX];
    size_t used;
    if (!c->multi) {
        (void)buf_addstr(out, "-ERR EXEC without MULTI\r\n");
        return;
    }
    c->multi = false;
    if (c->aborted) {
        (void)buf_addstr(out, "-EXECABORT Transaction discarded because of previous errors.\r\n");
        return;
    }
    (void)resp_add_array(out, c->queued);
    c->executing = true;
    for (size_t at = 0; at < c->queue.len; at += used) {
        unsigned n = split(c->queue.p + at, c->queue.len - at, a, &used);
        execute(s, c, a, n, out);
    }
    c->executing = false;
}

static void answer(struct server *s, struct client *c, const struct slice *a, unsigned n, const uint8_t *raw,
                   size_t len, struct buf *out)
{
    if (slice_is(a, "MULTI")) {
        c->multi = true;
        c->aborted = false;
        c->queue.len = c->queued = 0;
        (void)buf_addstr(out, "+OK\r\n");
    } else if (slice_is(a, "EXEC")) {
        exec(s, c, out);
    } else if (c->multi && s->o.dragonfly && (slice_is(a, "FLUSHALL") || slice_is(a, "FLUSHDB"))) {
        c->aborted = true;
        (void)buf_addf(out, "-ERR '%.*s' not allowed inside a transaction\r\n", (int)a->n,
                       (const char *)a->p);
    } else if (c->multi) {
        (void)buf_add(&c->queue, raw, len);
        c->queued++;
        (void)buf_addstr(out, "+QUEUED\r\n");
    } else {
        execute(s, c, a, n, out);
    }
}

/* ---- what a rule does ---- */

static void node_gone(struct server *s, unsigned node)
{
    if (s->listener[node] >= 0)
        close(s->listener[node]);
    s->listener[node] = -1;
    for (unsigned i = 0; i < s->nclients; i++)
        if (s->client[i]->node == node) {
            s->client[i]->closing = true;
            s->client[i]->out.len = 0;
        }
}

static void redirect(struct server *s, struct client *c, const struct rule *r, const struct slice *a,
                     unsigned n)
{
    unsigned to = r->n < s->o.nodes ? s->port[r->n] : (unsigned)r->n;
    (void)buf_addf(&c->out, "-%s %u 127.0.0.1:%u\r\n", r->action == ACT_ASK ? "ASK" : "MOVED",
                   n > 1 ? key_slot(a[1].p, a[1].n) : 0, to);
}

/* Returns whether the command is answered as usual as well. */
static bool apply(struct server *s, struct client *c, const struct rule *r, const struct slice *a, unsigned n)
{
    if (c->multi && r->action == ACT_RAW) {
        c->multi = c->multi && !slice_is(a, "EXEC");
        c->aborted |= r->bytes.len > 0 && r->bytes.p[0] == '-';
    }
    if (c->multi && (r->action == ACT_MOVED || r->action == ACT_ASK))
        c->aborted = true;
    switch (r->action) {
    case ACT_RAW: (void)buf_add(&c->out, r->bytes.p, r->bytes.len); return false;
    case ACT_BEFORE: (void)buf_add(&c->out, r->bytes.p, r->bytes.len); return true;
    case ACT_CLOSE: c->closing = true; return false;
    case ACT_SILENT: c->silent = true; return false;
    case ACT_DRIBBLE: c->dribble = r->bytes.len > 0 ? r->bytes.p[0] : '+'; return false;
    case ACT_HUGE:
        (void)buf_addf(&c->out, "$%llu\r\n", (unsigned long long)r->n);
        c->huge = r->n;
        return false;
    case ACT_MOVED:
    case ACT_ASK: redirect(s, c, r, a, n); return false;
    case ACT_GONE: node_gone(s, c->node); return false;
    default: return true;
    }
}

static void command(struct server *s, struct client *c, const struct slice *a, unsigned n, const uint8_t *raw,
                    size_t len)
{
    const struct rule *r = rule_find(&s->o, c->node, a, n);
    if (s->log != NULL)
        fprintf(s->log, "%u %u %.*s %.*s\n", c->node, c->id, (int)a[0].n, (const char *)a[0].p,
                n > 1 ? (int)(a[1].n < 200 ? a[1].n : 200) : 0, n > 1 ? (const char *)a[1].p : "");
    if (r != NULL && !apply(s, c, r, a, n))
        return;
    answer(s, c, a, n, raw, len, &c->out);
    if (r != NULL && r->action == ACT_AFTER)
        (void)buf_add(&c->out, r->bytes.p, r->bytes.len);
    if (r != NULL && r->action == ACT_DO) {
        c->out.len = 0;
        c->closing = true;
    }
}

/* ---- connections ---- */

static void requests(struct server *s, struct client *c)
{
    static struct slice a[ARGS_MAX];
    size_t at = 0, used;
    while (!c->closing && !c->silent && c->dribble == 0 && c->huge == 0 && at < c->in.len) {
        unsigned n = split(c->in.p + at, c->in.len - at, a, &used);
        if (n == 0)
            break;
        command(s, c, a, n, c->in.p + at, used);
        at += used;
    }
    buf_shift(&c->in, at);
    if (s->log != NULL)
        fflush(s->log);
}

static void receive(struct server *s, struct client *c)
{
    uint8_t *to = buf_room(&c->in, 65536);
    ssize_t k = to != NULL ? recv(c->fd, to, 65536, 0) : 0;
    if (k > 0) {
        c->in.len += (size_t)k;
        requests(s, c);
    } else if (k == 0 || (errno != EAGAIN && errno != EINTR)) {
        c->closing = true;
        c->out.len = 0;
        c->huge = 0;
    }
}

static void transmit(struct client *c)
{
    static char x[65536];
    while (c->out.len > 0) {
        ssize_t k = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        buf_shift(&c->out, (size_t)k);
    }
    while (c->huge > 0) {
        memset(x, 'x', sizeof x);
        ssize_t k = send(c->fd, x, c->huge < sizeof x ? (size_t)c->huge : sizeof x, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        c->huge -= (uint64_t)k;
        if (c->huge == 0)
            (void)buf_addstr(&c->out, "\r\n");
    }
}

static void admit(struct server *s, unsigned node)
{
    int fd = accept4(s->listener[node], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (s->nclients == CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct client *c = xcalloc(1, sizeof *c);
    *c = (struct client){.fd = fd, .node = node, .id = ++s->next_id};
    c->in.max = c->out.max = c->queue.max = REQUEST_MAX;
    s->client[s->nclients++] = c;
}

static void dismiss(struct server *s, unsigned i)
{
    struct client *c = s->client[i];
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->queue);
    free(c);
    s->client[i] = s->client[--s->nclients];
}

static void serve(struct server *s)
{
    struct pollfd pf[NODES_MAX + CLIENTS_MAX];
    unsigned n = s->nclients;
    bool dribbles = false;
    for (unsigned i = 0; i < s->o.nodes; i++)
        pf[i] = (struct pollfd){.fd = s->listener[i], .events = POLLIN};
    for (unsigned i = 0; i < n; i++) {
        struct client *c = s->client[i];
        bool out = c->out.len > 0 || c->huge > 0, in = c->dribble == 0 && !c->silent && c->huge == 0;
        pf[s->o.nodes + i] =
            (struct pollfd){.fd = c->fd, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
        dribbles |= c->dribble != 0;
    }
    int got = poll(pf, s->o.nodes + n, dribbles ? 250 : -1);
    for (unsigned i = 0; i < n; i++) {
        struct client *c = s->client[i];
        short what = pf[s->o.nodes + i].revents;
        if ((what & (POLLERR | POLLHUP)) != 0)
            c->closing = true;
        if ((what & POLLIN) != 0)
            receive(s, c);
        if (got == 0 && c->dribble != 0)
            (void)buf_add(&c->out, &c->dribble, 1);
        transmit(c);
        if (c->huge == 0 && c->out.len == 0 && c->in.len > 0 && !c->closing)
            requests(s, c);
    }
    for (unsigned i = s->nclients; i-- > 0;)
        if (s->client[i]->closing && (s->client[i]->out.len == 0 || got < 0))
            dismiss(s, i);
    for (unsigned i = 0; i < s->o.nodes; i++)
        if ((pf[i].revents & POLLIN) != 0 && s->listener[i] >= 0)
            admit(s, i);
}

/* A Unix socket whose queue is full: whoever connects waits. */
static void fill_queue(const char *path)
{
    struct sockaddr_storage sa = {0};
    sa.ss_family = AF_UNIX;
    if (strlen(path) >= 100)
        errx(2, "path too long");
    memcpy((char *)&sa + offsetof(struct sockaddr, sa_data), path, strlen(path) + 1);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr, sa_data) + strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 0) < 0)
        err(1, "%s", path);
    for (;;) {
        int c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(c, (struct sockaddr *)&sa, len) < 0)
            return;
    }
}

static void parse_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"nodes", 1, NULL, 'n'}, {"cluster", 0, NULL, 'c'}, {"dragonfly", 0, NULL, 'd'},
        {"rule", 1, NULL, 'r'},  {"info", 1, NULL, 'i'},    {"slots", 1, NULL, 's'},
        {"log", 1, NULL, 'l'},   {"unix", 1, NULL, 'u'},    {"help", 0, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *o = (struct options){.nodes = 1};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (c) {
        case 'n': o->nodes = (unsigned)atoi(optarg); break;
        case 'c': o->cluster = true; break;
        case 'd': o->dragonfly = true; break;
        case 'r': rule_add(o, optarg); break;
        case 'i': o->info = optarg; break;
        case 's': o->slots = optarg; break;
        case 'l': o->log = optarg; break;
        case 'u': o->unix_path = optarg; break;
        case 'h': fputs(help, stdout); exit(0);
        default: exit(2);
        }
    }
    if (o->nodes == 0 || o->nodes > NODES_MAX || optind < argc)
        errx(2, "bad arguments: see --help");
}

int main(int argc, char **argv)
{
    static struct server s;
    parse_options(&s.o, argc, argv);
    if (s.o.log != NULL && (s.log = fopen(s.o.log, "w")) == NULL)
        err(1, "%s", s.o.log);
    for (unsigned i = 0; i < s.o.nodes; i++) {
        s.listener[i] = listen_on(&s.port[i]);
        printf("port=%u\n", s.port[i]);
    }
    if (s.o.unix_path != NULL)
        fill_queue(s.o.unix_path);
    puts("ready");
    fflush(stdout);
    for (;;)
        serve(&s);
}
