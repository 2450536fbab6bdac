#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster_source.h"
#include "exits.h"
#include "../inquire.h"
#include "log.h"

#define NODES_REPLY ((size_t)8 << 20)

/* ---- one node ---- */

void cluster_node_url(struct url *at, const struct options *o, const char *host, const char *port)
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

/* The text that answers a question; the caller's. NULL with f. */
static char *ask_text(struct inquiry *q, int n, const char *const *args, struct fault *f)
{
    if (inquire(q, n, args, f) < 0)
        return NULL;
    redisReply *r = q->conn.object;
    char *text = NULL;
    if (r->type == REDIS_REPLY_STRING)
        text = xstrdup(r->str);
    else if (r->type == REDIS_REPLY_ERROR)
        psync_refused(f, args[0], r->str);
    else
        fault_set(f, EXIT_RETRY, "%s: unexpected reply", args[0]);
    freeReplyObject(r);
    return text;
}

static int open_node(struct inquiry *q, const struct url *at, const struct options *o, struct fault *f)
{
    if (inquire_open(q, at, o->connect_timeout * 1000, f) < 0)
        return -1;
    conn_keep_objects(&q->conn, NODES_REPLY);
    return 0;
}

/* What the master says of itself. */
static int take_master(struct master *m, struct inquiry *q, struct fault *f)
{
    static const char *const server[] = {"INFO", "server"}, *const replication[] = {"INFO", "replication"};
    static const char *const nodes[] = {"CLUSTER", "NODES"};
    static const char *const ids[] = {"master_replid", "master_replid2"};
    struct node_line line;
    char role[16] = "";
    char *text = ask_text(q, 2, server, f);
    if (text == NULL)
        return -1;
    info_version(text, m->version, sizeof m->version);
    free(text);
    if ((text = ask_text(q, 2, replication, f)) == NULL)
        return -1;
    (void)info_field(text, "role", role, sizeof role);
    for (size_t i = 0; i < 2; i++)
        if (!info_field(text, ids[i], m->replid[i], sizeof m->replid[i]) ||
            strlen(m->replid[i]) != REPLID_LEN || strspn(m->replid[i], "0") == REPLID_LEN)
            m->replid[i][0] = '\0';
    free(text);
    if (strcmp(role, "master") != 0 || m->replid[0][0] == '\0') {
        fault_set(f, EXIT_RETRY, "it is no master any more");
        return -1;
    }
    if ((text = ask_text(q, 2, nodes, f)) == NULL)
        return -1;
    for (const char *p = text; nodes_next(&p, &line);)
        if (line.myself)
            m->owned = line.slots;
    free(text);
    return 0;
}

static int ask_master(struct cluster_source *c, struct master *m, struct fault *f)
{
    struct inquiry q;
    struct fault why;
    if (open_node(&q, &m->at, c->stream->o, &why) == 0) {
        int rc = take_master(m, &q, &why);
        inquire_close(&q);
        if (rc == 0)
            return 0;
    }
    fault_set(f, why.status == EXIT_CANNOT ? EXIT_CANNOT : EXIT_RETRY, "master %s: %s", m->shown, why.text);
    return -1;
}

/* ---- all of them ---- */

static void add_master(struct cluster_source *c, const struct node_line *line, const struct url *seed)
{
    c->master = xrealloc(c->master, (c->masters + 1) * sizeof *c->master);
    struct master *m = &c->master[c->masters++];
    memset(m, 0, sizeof *m);
    m->cluster = c;
    m->flow = HO_NOBODY;
    m->conn.w.fd = -1;
    strlcpy(m->id, line->id, sizeof m->id);
    /* A node that was never told its own address says none: it is the one that we have reached. */
    bool unknown = line->host[0] == '\0';
    cluster_node_url(&m->at, c->stream->o, unknown ? seed->seed[0].host : line->host,
                     unknown ? seed->seed[0].port : line->port);
    url_show(&m->at, m->shown, sizeof m->shown);
}

static int list_masters(struct cluster_source *c, const char *text, const struct url *seed, struct fault *f)
{
    const struct masters_share *share = &c->stream->o->masters;
    struct node_line line;
    const char *p = text;
    unsigned slots = 0, with_slots = 0;
    while (nodes_next(&p, &line)) {
        if (!line.master || (line.away && slotset_next(&line.slots, 0) == SLOTS))
            continue;
        with_slots += slotset_next(&line.slots, 0) < SLOTS;
        slotset_meet(&line.slots, &c->share);
        if (share->of > 0 && slotset_next(&line.slots, 0) == SLOTS)
            continue;
        slots += slotset_count(&line.slots);
        if (line.away) {
            fault_set(f, EXIT_RETRY, "master %s:%s has failed, and nobody has taken its slots over",
                      line.host, line.port);
            return -1;
        }
        if (c->masters == MASTERS_MAX) {
            fault_set(f, EXIT_CANNOT, "more than %u masters", MASTERS_MAX);
            return -1;
        }
        add_master(c, &line, seed);
    }
    c->average = share->of > 0 ? (with_slots + share->of - 1) / share->of : 0;
    if (p != NULL && with_slots > 0 && slots == 0) {
        fault_set(f, EXIT_RETRY, "it knows no master that has slots of this share");
        return -1;
    }
    if (p == NULL || c->masters == 0 || slots == 0) {
        fault_set(f, EXIT_CANNOT,
                  "it knows no master with slots: this is no cluster, or one that is not set up");
        return -1;
    }
    return 0;
}

static int ask_seed(struct cluster_source *c, unsigned i, struct fault *f)
{
    static const char *const nodes[] = {"CLUSTER", "NODES"};
    const struct options *o = c->stream->o;
    struct inquiry q;
    struct fault why;
    struct url at;
    cluster_node_url(&at, o, o->url.seed[i].host, o->url.seed[i].port);
    int rc = -1;
    if (open_node(&q, &at, o, &why) == 0) {
        char *text = ask_text(&q, 2, nodes, &why);
        rc = text != NULL ? list_masters(c, text, &at, &why) : -1;
        free(text);
        inquire_close(&q);
    }
    if (rc < 0)
        fault_set(f, why.status, "node %s:%s: %s", o->url.seed[i].host, o->url.seed[i].port, why.text);
    return rc;
}

int cluster_find(struct cluster_source *c, struct fault *f)
{
    const struct options *o = c->stream->o;
    fault_set(f, EXIT_PARTIAL, "stopped before the source was known");
    for (unsigned i = 0; i < o->url.seeds && signals_seen() == 0; i++) {
        c->masters = 0;
        if (ask_seed(c, i, f) < 0)
            continue;
        for (unsigned k = 0; k < c->masters; k++)
            if (ask_master(c, &c->master[k], f) < 0)
                return -1;
        return 0;
    }
    return -1;
}
