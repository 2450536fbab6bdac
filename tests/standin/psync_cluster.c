/* CLUSTER: the layout at the start of the recording, and once it has come to its end for all masters that of
 * its end. */
#include "psync.h"

#include <stdlib.h>
#include <string.h>

static const char *ranges(const struct master *m, const struct psync_node *n)
{
    return psync_settled(m) ? n->slots_at_end : n->slots_at_start;
}

/* The next range of "0-79 200-5460 7000"; false at the end. */
static bool next_range(const char **at, unsigned *first, unsigned *last)
{
    int used = 0;
    if (sscanf(*at, " %u%n", first, &used) != 1)
        return false;
    *at += used;
    *last = *first;
    if (**at == '-') {
        *last = (unsigned)strtoul(*at + 1, NULL, 10);
        *at += 1 + strspn(*at + 1, "0123456789");
    }
    return true;
}

static void slots(struct master *m, struct conn *c)
{
    unsigned first, last, count = 0;
    for (unsigned i = 0; i < m->psync->nodes; i++)
        for (const char *at = ranges(m, &m->psync->node[i]); next_range(&at, &first, &last);)
            count++;
    conn_reply(c, "*%u\r\n", count);
    for (unsigned i = 0; i < m->psync->nodes; i++) {
        const struct psync_node *n = &m->psync->node[i];
        for (const char *at = ranges(m, n); next_range(&at, &first, &last);)
            conn_reply(c, "*3\r\n:%u\r\n:%u\r\n*3\r\n$%zu\r\n%s\r\n:%u\r\n$%zu\r\n%s\r\n", first, last,
                       strlen(opt.bind), opt.bind, m->listener[i].port, strlen(n->id), n->id);
    }
}

static void nodes(struct master *m, struct conn *c)
{
    struct buf text = {0};
    char line[RANGES_TEXT + 256];
    for (unsigned i = 0; i < m->psync->nodes; i++) {
        const struct psync_node *n = &m->psync->node[i];
        unsigned port = m->listener[i].port;
        snprintf(line, sizeof line, "%s %s:%u@%u %smaster - 0 0 %u connected %s\n", n->id, opt.bind, port,
                 port + 10000, i == c->node ? "myself," : "", i + 1, ranges(m, n));
        buf_text(&text, line);
    }
    buf_bulk(&c->out, text.p, text.len);
    buf_free(&text);
}

static void shards(struct master *m, struct conn *c)
{
    unsigned first, last;
    conn_reply(c, "*%u\r\n", m->psync->nodes);
    for (unsigned i = 0; i < m->psync->nodes; i++) {
        const struct psync_node *n = &m->psync->node[i];
        unsigned count = 0;
        for (const char *at = ranges(m, n); next_range(&at, &first, &last);)
            count += 2;
        conn_reply(c, "*4\r\n$5\r\nslots\r\n*%u\r\n", count);
        for (const char *at = ranges(m, n); next_range(&at, &first, &last);)
            conn_reply(c, ":%u\r\n:%u\r\n", first, last);
        conn_reply(c,
                   "$5\r\nnodes\r\n*1\r\n*10\r\n$2\r\nid\r\n$%zu\r\n%s\r\n$4\r\nport\r\n:%u\r\n$2\r\nip\r\n$%"
                   "zu\r\n%s\r\n",
                   strlen(n->id), n->id, m->listener[i].port, strlen(opt.bind), opt.bind);
        conn_reply(c, "$4\r\nrole\r\n$6\r\nmaster\r\n$6\r\nhealth\r\n$6\r\nonline\r\n");
    }
}

static void keys_in_slot(struct master *m, struct conn *c, const struct request *r)
{
    uint64_t slot;
    if (!opt.values_ports)
        conn_reply(c, "-ERR the stand-in has no keys without --values-of\r\n");
    else if (r->argc < 3 || !parse_u64(r->argv[2], &slot) || slot > 16383)
        conn_reply(c, "-ERR Invalid slot\r\n");
    else
        psync_slot_keys(m, c, (unsigned)slot, word_is(r->argv[1], "COUNTKEYSINSLOT"));
}

void psync_cluster(struct master *m, struct conn *c, const struct request *r)
{
    const char *what = r->argc > 1 ? r->argv[1] : "";
    const struct psync_node *n = &m->psync->node[c->node];
    if (!m->psync->cluster)
        conn_reply(c, "-ERR This instance has cluster support disabled\r\n");
    else if (word_is(what, "SLOTS"))
        slots(m, c);
    else if (word_is(what, "NODES"))
        nodes(m, c);
    else if (word_is(what, "SHARDS") && (m->psync->valkey || m->psync->major >= 7))
        shards(m, c);
    else if (word_is(what, "MYID"))
        buf_bulk(&c->out, n->id, strlen(n->id));
    else if (word_is(what, "COUNTKEYSINSLOT") || word_is(what, "GETKEYSINSLOT"))
        keys_in_slot(m, c, r);
    else
        conn_reply(c, "-ERR unknown subcommand '%.64s'\r\n", what);
}
