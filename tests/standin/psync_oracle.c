/*
 * Values of a recorded cluster: real servers that follow the stand-in's masters have them.  They are asked
 * when all of them have acknowledged the last offset, from which on the layout is that of the recording's
 * end; until then a slot that is read again would be read from a state that no offset names.
 */
#include "psync.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "../../common/slot.h"

bool psync_settled(const struct master *m)
{
    for (unsigned i = 0; i < m->psync->nodes; i++) {
        const struct psync_node *n = &m->psync->node[i];
        if (opt.values_ports ? !n->acked_all : n->sent < n->stage[n->stages - 1].end)
            return false;
    }
    return true;
}

/* Before the end the servers stand at offsets of their own: nothing is read from them then. */
bool psync_holds(const struct master *m, const struct conn *c, const struct request *r)
{
    bool reads = word_is(r->argv[0], "EXEC") && c->queued_reads;
    return m->psync && opt.values_ports && !psync_settled(m) && (reads || (!c->in_multi && psync_reads(r)));
}

bool psync_reads(const struct request *r)
{
    static const char *const known[] = {"DUMP", "PTTL", "PEXPIRETIME", "EXISTS", "TYPE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (word_is(r->argv[0], known[i]))
            return true;
    return r->argc > 1 && word_is(r->argv[0], "CLUSTER") && word_is(r->argv[1], "GETKEYSINSLOT");
}

static redisContext *oracle(struct psync_node *n)
{
    if (!n->oracle)
        n->oracle = redisConnect("127.0.0.1", (int)opt.values_port[n->index]);
    if (!n->oracle || n->oracle->err)
        die("--values-of: the server of %s does not answer", n->lineage);
    return n->oracle;
}

static void pass_on(struct conn *c, const redisReply *r)
{
    if (!r)
        die("--values-of: a server has gone");
    if (r->type == REDIS_REPLY_STRING)
        buf_bulk(&c->out, r->str, r->len);
    else if (r->type == REDIS_REPLY_INTEGER)
        conn_reply(c, ":%lld\r\n", r->integer);
    else if (r->type == REDIS_REPLY_NIL)
        conn_reply(c, "$-1\r\n");
    else
        conn_reply(c, "-%s\r\n", r->str ? r->str : "ERR no value");
}

bool psync_value(struct master *m, struct conn *c, const struct request *r)
{
    const char *argv[MAX_ARGS];
    if (!opt.values_ports || !psync_reads(r) || word_is(r->argv[0], "CLUSTER") || r->argc < 2)
        return false;
    for (size_t a = 0; a < r->argc; a++)
        argv[a] = r->argv[a];
    redisReply *reply = redisCommandArgv(oracle(&m->psync->node[c->node]), (int)r->argc, argv, r->len);
    pass_on(c, reply);
    freeReplyObject(reply);
    return true;
}

void psync_slot_keys(struct master *m, struct conn *c, unsigned slot, bool count)
{
    struct buf keys = {0};
    unsigned n = 0;
    redisReply *r = redisCommand(oracle(&m->psync->node[c->node]), "KEYS *");
    for (size_t i = 0; r && r->type == REDIS_REPLY_ARRAY && i < r->elements; i++) {
        if (key_slot(r->element[i]->str, r->element[i]->len) != slot)
            continue;
        buf_bulk(&keys, r->element[i]->str, r->element[i]->len);
        n++;
    }
    if (!r || r->type != REDIS_REPLY_ARRAY)
        die("--values-of: a server has gone");
    freeReplyObject(r);
    conn_reply(c, count ? ":%u\r\n" : "*%u\r\n", n);
    if (!count)
        buf_put(&c->out, keys.p, keys.len);
    buf_free(&keys);
}

/* The next argument of a command, a number; false: it has no more. */
static bool next_number(const char **p, unsigned *n)
{
    unsigned long len;
    int used;
    if (sscanf(*p, "$%lu\r\n%u\r\n%n", &len, n, &used) != 2)
        return false;
    *p += used;
    return true;
}

static void remove_slots(struct psync_node *n, const redisReply *keys, unsigned first, unsigned last)
{
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        unsigned slot = key_slot(k->str, k->len);
        if (slot < first || slot > last)
            continue;
        redisReply *r = redisCommand(n->oracle, "DEL %b", k->str, k->len);
        if (!r || r->type == REDIS_REPLY_ERROR)
            die("--values-of: DEL: %s", r ? r->str : "the server has gone");
        freeReplyObject(r);
    }
}

void psync_trim(struct psync_node *n, const char *command, size_t len)
{
    static const char head[] = "$6\r\nRANGES\r\n";
    unsigned ranges, first, last;
    char *text = strndup(command, len);
    const char *p = text ? strstr(text, head) : NULL;
    redisReply *keys = redisCommand(oracle(n), "KEYS *");
    if (!p || (p += strlen(head), !next_number(&p, &ranges)) || !keys || keys->type != REDIS_REPLY_ARRAY)
        die("--values-of: TRIMSLOTS, or its keys, cannot be read");
    while (ranges-- && next_number(&p, &first) && next_number(&p, &last))
        remove_slots(n, keys, first, last);
    freeReplyObject(keys);
    free(text);
}

void psync_oracles_close(struct psync *p)
{
    for (unsigned i = 0; i < p->nodes; i++)
        if (p->node[i].oracle)
            redisFree(p->node[i].oracle);
}
