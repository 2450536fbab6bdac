/* The commands of a connection to a Redis or Valkey master. */
#include "psync.h"

#include <stdlib.h>
#include <string.h>

static void capability(struct conn *c, const char *name)
{
    c->capa_eof |= word_is(name, "eof");
    c->capa_psync2 |= word_is(name, "psync2");
}

/* One pair of REPLCONF; false: an error has been answered. */
static bool replconf_pair(struct master *m, struct conn *c, const char *name, const char *value)
{
    uint64_t number;
    if (word_is(name, "listening-port")) {
        if (!parse_u64(value, &number) || number > 65535) {
            conn_reply(c, "-ERR value is not an integer or out of range\r\n");
            return false;
        }
        c->listening = (unsigned)number;
    } else if (word_is(name, "capa")) {
        capability(c, value);
    } else if (word_is(name, "version") && m->psync->valkey && m->psync->major >= 8) {
        c->version_major = (unsigned)strtoul(value, NULL, 10);
    } else if (!word_is(name, "ip-address")) {
        conn_reply(c, "-ERR Unrecognized REPLCONF option: %.64s\r\n", name);
        return false;
    }
    return true;
}

static void run_replconf(struct master *m, struct conn *c, const struct request *r)
{
    if (r->argc % 2 == 0) {
        conn_reply(c, "-ERR syntax error\r\n");
        return;
    }
    if (r->argc >= 3 && word_is(r->argv[1], "ACK")) {
        log_illegal(m, c, "ACK before PSYNC");
        return; /* never answered */
    }
    for (size_t i = 1; i < r->argc; i += 2)
        if (!replconf_pair(m, c, r->argv[i], r->argv[i + 1]))
            return;
    conn_reply(c, "+OK\r\n");
}

/* Behind MULTI requests wait for their EXEC. */
static bool queue(struct conn *c, const struct request *r)
{
    if (!c->in_multi || word_is(r->argv[0], "EXEC") || word_is(r->argv[0], "DISCARD"))
        return false;
    buf_array(&c->queued, r->argc);
    for (size_t i = 0; i < r->argc; i++)
        buf_bulk(&c->queued, r->argv[i], r->len[i]);
    c->queued_count++;
    c->queued_reads |= psync_reads(r);
    conn_reply(c, "+QUEUED\r\n");
    return true;
}

static void run_exec(struct master *m, struct conn *c)
{
    struct buf all = c->queued;
    struct request r = {0};
    ssize_t n;
    if (!c->in_multi) {
        conn_reply(c, "-ERR EXEC without MULTI\r\n");
        return;
    }
    c->in_multi = c->queued_reads = false;
    c->queued = (struct buf){0};
    conn_reply(c, "*%u\r\n", c->queued_count);
    c->queued_count = 0;
    for (size_t at = 0; at < all.len && (n = request_parse(all.p + at, all.len - at, &r)) > 0;
         at += (size_t)n)
        command_run(m, c, &r);
    buf_free(&r.store);
    buf_free(&all);
}

bool psync_run(struct master *m, struct conn *c, const struct request *r)
{
    const char *name = r->argv[0];
    if (queue(c, r))
        return true;
    if (word_is(name, "REPLCONF")) {
        run_replconf(m, c, r);
    } else if (c->loading) {
        return false;
    } else if (word_is(name, "PSYNC")) {
        psync_open(m, c, r);
    } else if (word_is(name, "INFO")) {
        psync_info(m, c, r);
    } else if (word_is(name, "CLUSTER")) {
        psync_cluster(m, c, r);
    } else if (psync_value(m, c, r)) {
        return true;
    } else if (word_is(name, "DUMP")) {
        conn_reply(c, "-ERR a recording has no values\r\n");
    } else if (word_is(name, "MULTI")) {
        c->in_multi = true;
        conn_reply(c, "+OK\r\n");
    } else if (word_is(name, "EXEC")) {
        run_exec(m, c);
    } else {
        return false;
    }
    return true;
}

void psync_on_flow(struct master *m, struct conn *c, const struct request *r)
{
    uint64_t offset;
    bool ack = r->argc >= 3 && word_is(r->argv[0], "REPLCONF") && word_is(r->argv[1], "ACK");
    if (ack && parse_u64(r->argv[2], &offset))
        psync_ack(m, c, offset);
    else
        log_illegal(m, c, "behind PSYNC only REPLCONF ACK with a number is in order");
}
