/* Loads a recorded session of a Redis or Valkey: meta.json says what lies where in DIR/wire. */
#include "psync.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *meta_load(const char *dir)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/meta.json", dir);
    return json_load_file(path, 0, &error);
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

static size_t size_of(const json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));
    return n > 0 ? (size_t)n : 0;
}

bool psync_recorded(const char *dir)
{
    json_t *meta = meta_load(dir), *flows = json_object_get(meta, "flows");
    bool yes = strncmp(text_of(json_array_get(flows, 0), "request"), "PSYNC", 5) == 0;
    json_decref(meta);
    return yes;
}

static bool file_read(const char *dir, unsigned conn, struct buf *out)
{
    char path[4096];
    size_t n = 1;
    snprintf(path, sizeof path, "%s/wire/%02u.s2c", dir, conn);
    FILE *f = fopen(path, "rb");
    while (f && n) {
        n = fread(buf_room(out, 65536), 1, 65536, f);
        out->len += n;
    }
    if (f)
        fclose(f);
    return f != NULL;
}

/* The node of a lineage, a new one if need be. */
static struct psync_node *node_of(struct psync *p, const char *lineage)
{
    for (unsigned i = 0; i < p->nodes; i++)
        if (!strcmp(p->node[i].lineage, lineage))
            return &p->node[i];
    if (p->nodes == MAX_NODES)
        return NULL;
    struct psync_node *n = &p->node[p->nodes];
    n->index = p->nodes++;
    snprintf(n->lineage, sizeof n->lineage, "%s", lineage);
    return n;
}

/* A stage that began with a full sync: the RDB lies right before the stream, or before the token there. */
static bool begin_history(struct psync_node *n, const json_t *flow, const struct buf *s2c, size_t stream)
{
    struct psync_history *h = &n->history[n->histories++];
    size_t rdb = size_of(flow, "rdb_bytes"), token;
    h->by_token = !strcmp(text_of(flow, "form"), "$EOF");
    token = h->by_token ? TOKEN_LEN : 0;
    if (stream > s2c->len || rdb < 9 || stream < rdb + token)
        return false;
    uint8_t *copy = grab(rdb);
    memcpy(copy, s2c->p + stream - token - rdb, rdb);
    h->rdb = copy;
    h->rdb_len = rdb;
    h->newlines = (unsigned)size_of(flow, "newlines_before");
    h->start = size_of(flow, "start_offset");
    if (h->by_token)
        memcpy(h->token, s2c->p + stream - token, TOKEN_LEN);
    return memcmp(h->rdb, "REDIS", 5) == 0 || memcmp(h->rdb, "VALKEY", 6) == 0;
}

static bool add_stage(struct psync *p, const json_t *flow, const struct buf *s2c)
{
    struct psync_node *n = node_of(p, text_of(flow, "lineage"));
    size_t stream = size_of(flow, "stream_begins_at"), bytes = size_of(flow, "stream_bytes");
    bool full = strcmp(text_of(flow, "form"), "continue") != 0;
    if (!n || n->stages == MAX_STAGES || stream > s2c->len || bytes > s2c->len - stream)
        return false;
    if (full ? !begin_history(n, flow, s2c, stream) : n->histories == 0)
        return false;
    struct psync_stage *s = &n->stage[n->stages++];
    struct psync_history *h = &n->history[n->histories - 1];
    uint64_t from = size_of(flow, "start_offset");
    s->history = n->histories - 1;
    snprintf(s->id, sizeof s->id, "%s", text_of(flow, "replid"));
    if (!full && strcmp(s->id, s[-1].id) != 0) {
        memcpy(s->id2, s[-1].id, sizeof s->id2);
        s->second = from + 1;
    } else if (!full) {
        memcpy(s->id2, s[-1].id2, sizeof s->id2);
        s->second = s[-1].second;
    }
    s->end = from + bytes;
    return history_add(h, from, s2c->p + stream, bytes);
}

static bool load_stages(struct psync *p, const char *dir, json_t *flows)
{
    size_t i;
    json_t *flow;
    json_array_foreach(flows, i, flow)
    {
        struct buf s2c = {0};
        unsigned conn = (unsigned)size_of(flow, "conn");
        bool ok = file_read(dir, conn, &s2c) && add_stage(p, flow, &s2c);
        buf_free(&s2c);
        if (ok)
            continue;
        complain("%s: wire/%02u.s2c is not what meta.json says", dir, conn);
        return false;
    }
    return p->nodes > 0;
}

static void load_nodes(struct psync *p, json_t *meta)
{
    json_t *nodes = json_object_get(meta, "nodes"), *end = json_object_get(meta, "slots_at_end"), *node;
    size_t i;
    p->cluster = nodes != NULL;
    json_array_foreach(nodes, i, node)
    {
        struct psync_node *n = node_of(p, text_of(node, "lineage"));
        if (!n)
            return;
        snprintf(n->id, sizeof n->id, "%s", text_of(node, "id"));
        snprintf(n->slots_at_start, sizeof n->slots_at_start, "%s", text_of(node, "slots_at_start"));
        snprintf(n->slots_at_end, sizeof n->slots_at_end, "%s", text_of(end, n->lineage));
    }
}

/* --getack: one more command, at the end of all. */
static bool add_getack(struct psync_node *n)
{
    static const uint8_t getack[] = "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
    struct psync_stage *s = &n->stage[n->stages - 1];
    uint64_t end = s->end;
    s->end += sizeof getack - 1;
    return history_add(&n->history[s->history], end, getack, sizeof getack - 1);
}

static bool mark_all(struct psync *p, const char *dir)
{
    for (unsigned i = 0; i < p->nodes; i++) {
        if (opt.getack && !add_getack(&p->node[i]))
            return false;
        for (unsigned j = 0; j < p->node[i].histories; j++) {
            if (history_mark(&p->node[i].history[j]))
                continue;
            complain("%s: the stream of %s is not made of commands", dir, p->node[i].lineage);
            return false;
        }
    }
    return true;
}

struct psync *psync_load(const char *dir)
{
    struct psync *p = grab(sizeof *p);
    json_t *meta = meta_load(dir);
    p->valkey = strncmp(text_of(meta, "server"), "valkey", 6) == 0;
    snprintf(p->version, sizeof p->version, "%s", text_of(meta, "version"));
    snprintf(p->dbs, sizeof p->dbs, "%s", text_of(meta, "dbs"));
    p->major = (unsigned)strtoul(p->version, NULL, 10);
    bool ok = load_stages(p, dir, json_object_get(meta, "flows")) && mark_all(p, dir);
    load_nodes(p, meta);
    json_decref(meta);
    if (ok)
        return p;
    psync_free(p);
    return NULL;
}

void psync_free(struct psync *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->nodes; i++) {
        for (unsigned j = 0; j < p->node[i].histories; j++) {
            struct psync_history *h = &p->node[i].history[j];
            free((void *)(uintptr_t)h->rdb);
            buf_free(&h->stream);
            free(h->mark);
        }
    }
    psync_oracles_close(p);
    if (p->acks)
        fclose(p->acks);
    free(p);
}
