/* Connections to one server or to the masters of a cluster, and pipelines on them. */
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

enum { CONNECT_SECONDS = 10, REPLY_SECONDS = 120 };

static void node_open(node *n, const char *host, int port)
{
    const struct timeval connect = {.tv_sec = CONNECT_SECONDS}, reply = {.tv_sec = REPLY_SECONDS};

    *n = (node){.c = redisConnectWithTimeout(host, port, connect)};
    if (!n->c)
        die("out of memory");
    if (n->c->err)
        die("cannot connect to %s:%d: %s", host, port, n->c->errstr);
    if (redisSetTimeout(n->c, reply) != REDIS_OK)
        die("cannot set a timeout: %s", n->c->errstr);
}

/* Only queues: hiredis copies what it is given, so commands are handed over many at a time. */
void wire_put(node *n, const bytes *argv, size_t argc)
{
    buf *b = &n->out;

    buf_add(b, "*", 1);
    buf_int(b, (long long)argc);
    for (size_t i = 0; i < argc; i++) {
        buf_add(b, "\r\n$", 3);
        buf_int(b, (long long)argv[i].n);
        buf_add(b, "\r\n", 2);
        buf_add(b, argv[i].p, argv[i].n);
    }
    buf_add(b, "\r\n", 2);
}

/* The next reply, after sending whatever is queued. */
redisReply *wire_reply(node *n)
{
    void *reply = NULL;

    if (n->out.len) {
        if (redisAppendFormattedCommand(n->c, n->out.p, n->out.len) != REDIS_OK)
            die("out of memory");
        n->out.len = 0;
    }
    if (redisGetReply(n->c, &reply) != REDIS_OK || !reply)
        die("%s:%d: %s", n->c->tcp.host, n->c->tcp.port, n->c->errstr);
    return reply;
}

redisReply *wire_reply_ok(node *n, const char *what)
{
    redisReply *r = wire_reply(n);

    if (r->type == REDIS_REPLY_ERROR)
        die("%s:%d: %s: %s", n->c->tcp.host, n->c->tcp.port, what, r->str);
    return r;
}

void node_select(node *n, int db)
{
    buf number = {0};

    if (n->db == db)
        return;
    buf_int(&number, db);
    wire_put(n, (bytes[]){lit("SELECT"), {number.p, number.len}}, 2);
    freeReplyObject(wire_reply_ok(n, "SELECT"));
    n->db = db;
    buf_free(&number);
}

static bool known(const server *s, const char *host, int port)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->nodes[i].c->tcp.port == port && strcmp(s->nodes[i].c->tcp.host, host) == 0)
            return true;
    return false;
}

/* An entry of CLUSTER SLOTS is: first slot, last slot, [host, port, ...] of the master, replicas. */
static void add_master(server *s, size_t *cap, const redisReply *entry, const char *fallback)
{
    const redisReply *m = entry->elements > 2 ? entry->element[2] : NULL;
    const char *host;
    int port;

    if (!m || m->type != REDIS_REPLY_ARRAY || m->elements < 2 || m->element[1]->type != REDIS_REPLY_INTEGER)
        die("CLUSTER SLOTS: an entry without a master");
    /* a node that does not know its own address leaves it empty */
    host = m->element[0]->str && m->element[0]->len ? m->element[0]->str : fallback;
    port = (int)m->element[1]->integer;
    if (known(s, host, port))
        return;
    if (s->n > UINT16_MAX)
        die("too many cluster nodes");
    s->nodes = grow_array(s->nodes, cap, s->n + 1, sizeof(*s->nodes));
    node_open(&s->nodes[s->n], host, port);
    s->n++;
}

static void open_cluster(server *s, const target *t)
{
    redisReply *slots;
    size_t cap = 0;
    node seed;

    node_open(&seed, t->host, t->port);
    wire_put(&seed, (bytes[]){lit("CLUSTER"), lit("SLOTS")}, 2);
    slots = wire_reply_ok(&seed, "CLUSTER SLOTS");
    for (size_t i = 0; i < slots->elements; i++)
        add_master(s, &cap, slots->element[i], t->host);
    freeReplyObject(slots);
    redisFree(seed.c);
    buf_free(&seed.out);
    if (!s->n)
        die("%s:%d: no slot of the cluster is served", t->host, t->port);
}

void server_open(server *s, const target *t)
{
    *s = (server){0};
    if (t->cluster) {
        open_cluster(s, t);
        return;
    }
    s->nodes = xcalloc(1, sizeof(*s->nodes));
    s->n = 1;
    node_open(&s->nodes[0], t->host, t->port);
}

void server_close(server *s)
{
    for (size_t i = 0; i < s->n; i++) {
        redisFree(s->nodes[i].c);
        buf_free(&s->nodes[i].out);
    }
    free(s->nodes);
    *s = (server){0};
}
