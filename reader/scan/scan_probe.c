/* What servers are and permit, asked before they are scanned. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "../inquire.h"
#include "../locate.h"
#include "log.h"
#include "../redis/nodes.h"
#include "../redis/psync_reply.h"
#include "scan_source.h"

#define TEXT_MAX ((size_t)8 << 20)
#define PROBE    "df2redis:probe" /* a key that nobody has */

/* ---- single questions ---- */

/* The reply, which is the caller's; NULL with f. */
static redisReply *ask(struct inquiry *q, int n, const char *const *args, struct fault *f)
{
    return inquire(q, n, args, f) < 0 ? NULL : q->conn.object;
}

/* The text that answers; the caller's. *why: the error that came instead. NULL: that, or f. */
static char *ask_text(struct inquiry *q, const char *a, const char *b, char why[160], struct fault *f)
{
    const char *const args[] = {a, b};
    redisReply *r = ask(q, 2, args, f);
    char *text = NULL;
    why[0] = '\0';
    if (r == NULL)
        return NULL;
    if (r->type == REDIS_REPLY_STRING)
        text = xstrdup(r->str);
    else
        strlcpy(why, r->type == REDIS_REPLY_ERROR ? r->str : "unexpected reply", 160);
    freeReplyObject(r);
    return text;
}

/* Returns 1, 0: the server does not know the command, or the user may not, -1 with f. */
static int permits(struct inquiry *q, int n, const char *const *args, struct fault *f)
{
    redisReply *r = ask(q, n, args, f);
    if (r == NULL)
        return -1;
    bool elsewhere = r->type == REDIS_REPLY_ERROR && strncmp(r->str, "MOVED ", 6) == 0;
    int can = r->type != REDIS_REPLY_ERROR || elsewhere ? 1 : 0;
    freeReplyObject(r);
    return can;
}

/* ---- one server ---- */

/* "db0:keys=1,expires=0" */
static void take_keyspace(struct scan_server *v, const char *text)
{
    unsigned db;
    unsigned long long keys;
    v->dbs_known = true;
    for (const char *p = text; p != NULL; p = strchr(p, '\n'), p += p != NULL) {
        if (sscanf(p, "db%u:keys=%llu", &db, &keys) != 2 || keys == 0 || v->dbs == SCAN_DBS)
            continue;
        v->db[v->dbs++] = db;
        v->keys += keys;
    }
}

static bool is_listed(const struct scan_server *v, unsigned db)
{
    for (unsigned i = 0; i < v->held; i++)
        if (v->db[i] == db)
            return true;
    return false;
}

/* All databases that there are, by number: where INFO does not tell which hold keys, and where others may
 * have some later. */
static int count_databases(struct scan_server *v, struct inquiry *q, struct fault *f)
{
    char number[16];
    for (unsigned db = 0; db < SCAN_DBS && v->dbs < SCAN_DBS; db++) {
        snprintf(number, sizeof number, "%u", db);
        const char *const select[] = {"SELECT", number};
        int can = db == 0 ? 1 : permits(q, 2, select, f);
        if (can < 0)
            return -1;
        if (can == 0)
            break;
        if (!is_listed(v, db))
            v->db[v->dbs++] = db;
    }
    return 0;
}

static int take_info(struct scan_server *v, bool follow, struct inquiry *q, struct fault *f)
{
    char why[160], role[16] = "";
    char *text = ask_text(q, "INFO", "server", why, f);
    if (text == NULL && why[0] == '\0')
        return -1;
    if (text == NULL)
        log_event(LOG_WARN, NO_FLOW, "event=info_refused reply=%s", log_quote(why, strlen(why)));
    if (text != NULL) {
        info_version(text, v->version, sizeof v->version);
        if (!info_field(text, "run_id", v->run_id, sizeof v->run_id) || strlen(v->run_id) != REPLID_LEN)
            v->run_id[0] = '\0';
    }
    free(text);
    v->dragonfly = strncmp(v->version, "dragonfly:", 10) == 0;
    if ((text = ask_text(q, "INFO", "replication", why, f)) == NULL && why[0] == '\0')
        return -1;
    if (text != NULL) {
        if (!info_field(text, "master_replid", v->replid, sizeof v->replid) ||
            strlen(v->replid) != REPLID_LEN || strspn(v->replid, "0") == REPLID_LEN)
            v->replid[0] = '\0';
        (void)info_field(text, "role", role, sizeof role);
    }
    free(text);
    if ((text = ask_text(q, "INFO", "keyspace", why, f)) == NULL && why[0] == '\0')
        return -1;
    if (text != NULL)
        take_keyspace(v, text);
    free(text);
    v->held = v->dbs;
    return v->dbs_known && !follow ? 0 : count_databases(v, q, f);
}

static int take_permissions(struct scan_source *s, struct scan_server *v, struct inquiry *q, struct fault *f)
{
    static const char *const scan[] = {"SCAN", "0", "COUNT", "1"}, *const memory[] = {"MEMORY", "USAGE",
                                                                                      PROBE};
    static const char *const dump[] = {"DUMP", PROBE}, *const expiry[] = {"PEXPIRETIME", PROBE};
    static const char *const field[] = {"HPEXPIRETIME", PROBE, "FIELDS", "1", "f"};
    redisReply *r = ask(q, 4, scan, f);
    if (r == NULL)
        return -1;
    if (r->type == REDIS_REPLY_ERROR) {
        fault_set(f, EXIT_CANNOT, "SCAN is refused, too: %s", r->str);
        freeReplyObject(r);
        return -1;
    }
    freeReplyObject(r);
    int can[4] = {permits(q, 3, memory, f), 0, 0, 0};
    if (can[0] >= 0)
        can[1] = permits(q, 2, dump, f);
    if (can[1] >= 0)
        can[2] = permits(q, 2, expiry, f);
    if (can[2] >= 0)
        can[3] = permits(q, 5, field, f);
    if (can[0] < 0 || can[1] < 0 || can[2] < 0 || can[3] < 0)
        return -1;
    v->memory = can[0] > 0;
    v->dump = can[1] > 0 && s->stream->o->scan_values != VALUES_COMMANDS;
    v->expiretime = can[2] > 0;
    v->field_ttl = can[3] > 0;
    return 0;
}

int scan_probe(struct scan_source *s, const struct url *at, struct scan_server *v, struct fault *f)
{
    struct inquiry q;
    memset(v, 0, sizeof *v);
    if (inquire_open(&q, at, s->stream->o->connect_timeout * 1000, f) < 0)
        return -1;
    conn_keep_objects(&q.conn, TEXT_MAX);
    int rc = take_info(v, scan_follows(s), &q, f);
    if (rc == 0)
        rc = take_permissions(s, v, &q, f);
    inquire_close(&q);
    if (rc == 0)
        log_event(LOG_INFO, NO_FLOW,
                  "event=scan_server version=%s keys=%llu memory=%d dump=%d expiretime=%d field_ttl=%d",
                  v->version[0] != '\0' ? v->version : "unknown", (unsigned long long)v->keys, (int)v->memory,
                  (int)v->dump, (int)v->expiretime, (int)v->field_ttl);
    return rc;
}

/* ---- all of them ---- */

static struct scan_node *add_node(struct scan_source *s, const struct url *at)
{
    s->node = xrealloc(s->node, (s->nodes + 1) * sizeof *s->node);
    struct scan_node *n = &s->node[s->nodes++];
    memset(n, 0, sizeof *n);
    n->source = s;
    n->at = *at;
    n->conn.w.fd = -1;
    url_show(&n->at, n->shown, sizeof n->shown);
    return n;
}

static void node_url(struct url *at, const struct options *o, const char *host, const char *port)
{
    *at = o->url;
    at->cluster = false;
    at->seeds = 1;
    strlcpy(at->scheme, o->url.secure ? "rediss" : "redis", sizeof at->scheme);
    strlcpy(at->host, host, sizeof at->host);
    strlcpy(at->port, port, sizeof at->port);
    strlcpy(at->seed[0].host, host, sizeof at->seed[0].host);
    strlcpy(at->seed[0].port, port, sizeof at->seed[0].port);
}

/* Returns 0, or -1 with f. */
static int take_masters(struct scan_source *s, const char *text, const struct url *seed, struct fault *f)
{
    struct node_line line;
    const char *p = text;
    while (nodes_next(&p, &line)) {
        struct url at;
        if (!line.master || slotset_next(&line.slots, 0) == SLOTS)
            continue;
        if (line.away || s->nodes == SCAN_NODES) {
            fault_set(f, line.away ? EXIT_RETRY : EXIT_CANNOT,
                      line.away ? "a master with slots has failed" : "more than %u masters", SCAN_NODES);
            return -1;
        }
        bool unknown = line.host[0] == '\0';
        node_url(&at, s->stream->o, unknown ? seed->seed[0].host : line.host,
                 unknown ? seed->seed[0].port : line.port);
        add_node(s, &at)->server.slots = line.slots;
    }
    if (p == NULL || s->nodes == 0) {
        fault_set(f, EXIT_CANNOT, "it knows no master with slots: this is no cluster, or it is not set up");
        return -1;
    }
    return 0;
}

static int ask_seed(struct scan_source *s, unsigned i, struct fault *f)
{
    const struct options *o = s->stream->o;
    struct inquiry q;
    struct url at;
    char why[160];
    node_url(&at, o, o->url.seed[i].host, o->url.seed[i].port);
    if (inquire_open(&q, &at, o->connect_timeout * 1000, f) < 0)
        return -1;
    conn_keep_objects(&q.conn, TEXT_MAX);
    char *text = ask_text(&q, "CLUSTER", "NODES", why, f);
    int rc = text != NULL ? take_masters(s, text, &at, f) : -1;
    if (text == NULL && why[0] != '\0')
        fault_set(f, EXIT_CANNOT, "CLUSTER NODES is refused: %s", why);
    free(text);
    inquire_close(&q);
    return rc;
}

static int find_masters(struct scan_source *s, struct fault *f)
{
    fault_set(f, EXIT_PARTIAL, "stopped before the source was known");
    for (unsigned i = 0; i < s->stream->o->url.seeds && signals_seen() == 0; i++) {
        s->nodes = 0;
        if (ask_seed(s, i, f) == 0)
            return 0;
    }
    return -1;
}

/* In the order of their first slots: so the flows of another run are the same. */
static int by_slot(const void *a, const void *b)
{
    const struct scan_node *x = a, *y = b;
    unsigned p = slotset_next(&x->server.slots, 0), q = slotset_next(&y->server.slots, 0);
    return p < q ? -1 : p > q;
}

int scan_find(struct scan_source *s, struct fault *f)
{
    struct url at;
    s->nodes = 0;
    if (!s->stream->o->url.cluster) {
        if (locate(s->stream->o, &at, f) < 0)
            return -1;
        struct scan_node *n = add_node(s, &at);
        return scan_probe(s, &n->at, &n->server, f);
    }
    if (find_masters(s, f) < 0)
        return -1;
    qsort(s->node, s->nodes, sizeof *s->node, by_slot);
    for (unsigned i = 0; i < s->nodes; i++) {
        struct scan_node *n = &s->node[i];
        struct slotset slots = n->server.slots;
        if (scan_probe(s, &n->at, &n->server, f) < 0)
            return -1;
        n->server.slots = slots;
    }
    return 0;
}
