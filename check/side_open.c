/* Finding the servers of a side, and what they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "log.h"
#include "side.h"
#include "side_ask.h"
#include "tls.h"

#define NO_NODE UINT16_MAX

/* Servers of one side are alike: the first one is asked. */
static void learn(struct side *s, struct link *l)
{
    char text[64];
    const struct reply *r = MUST(s, l, "INFO", "server");
    if (info_field(r, "dragonfly_version", s->version, sizeof s->version))
        s->kind = SERVER_DRAGONFLY;
    else if (info_field(r, "valkey_version", s->version, sizeof s->version))
        s->kind = SERVER_VALKEY;
    else {
        s->kind = SERVER_REDIS;
        (void)info_field(r, "redis_version", s->version, sizeof s->version);
    }
    if (info_field(r, "redis_mode", text, sizeof text) && strcmp(text, "cluster") == 0)
        s->cluster = true;
    if (info_field(r, "loading", text, sizeof text) && strcmp(text, "1") == 0)
        fatal(EXIT_CANNOT, "%s: it is still loading its data", l->name);
}

/* The reply for a missing key shows whether the server knows the command. */
static bool knows(struct side *s, struct link *l, unsigned n, const char *const *word)
{
    link_begin(l, n);
    for (unsigned i = 0; i < n; i++)
        link_str(l, word[i]);
    struct reply *r = link_wait(l, KEEP_ALL, side_timeout(s));
    const struct elem *e = &r->e[0];
    if (e->type != REPLY_ERROR)
        return true;
    const char *text = (const char *)elem_text(r, e);
    size_t len = e->kept;
    bool refused =
        (len >= 6 && memcmp(text, "NOPERM", 6) == 0) || (len >= 6 && memcmp(text, "NOAUTH", 6) == 0);
    if (refused)
        link_refused(l, word[0], r, e);
    return false;
}

static void try_commands(struct side *s)
{
    const struct node *n = &s->node[s->owner[key_slot("df2redis:{check}", 16)]];
    s->has_pexpiretime = knows(s, &n->links[1], 2, (const char *const[]){"PEXPIRETIME", "df2redis:{check}"});
    s->has_field_ttl = knows(s, &n->links[1], 5,
                             (const char *const[]){"HPEXPIRETIME", "df2redis:{check}", "FIELDS", "1", "f"});
}

static void login(struct side *s, struct link *l, const char *user, const char *password)
{
    if (user[0] != '\0')
        (void)MUST(s, l, "AUTH", user, password);
    else if (password[0] != '\0')
        (void)MUST(s, l, "AUTH", password);
}

/* ---- finding ---- */

/* One sentinel. Returns whether it names the master. */
static bool ask_sentinel(struct side *s, const struct endpoint *sentinel, struct endpoint *out)
{
    struct link l;
    bool named = false;
    const char *user = s->o->sentinel_user != NULL ? s->o->sentinel_user : "";
    link_open(&l, s->loop, sentinel, s->o->url.tls, s->label, side_timeout(s));
    login(s, &l, user, s->o->sentinel_password);
    const struct reply *r = MUST(s, &l, "SENTINEL", "get-master-addr-by-name", s->o->url.name);
    if (r->e[0].type == REPLY_ARRAY && r->e[0].n == 2 && elem_whole(&r->e[1]) && elem_whole(&r->e[2])) {
        char host[256] = "", port[8] = "";
        if (r->e[1].n < sizeof host && r->e[2].n < sizeof port) {
            memcpy(host, elem_text(r, &r->e[1]), r->e[1].n);
            memcpy(port, elem_text(r, &r->e[2]), r->e[2].n);
        }
        named = endpoint_ok(host, port);
        if (named) {
            strlcpy(out->host, host, sizeof out->host);
            strlcpy(out->port, port, sizeof out->port);
        }
    }
    link_close(&l);
    return named;
}

/* A sentinel that cannot be reached is no reason to give up while there are others. */
static bool reachable(struct side *s, const struct endpoint *e)
{
    char why[400];
    struct transport t;
    if (transport_connect(&t, e, s->o->url.tls, side_timeout(s), why, sizeof why, NULL) < 0) {
        log_event(LOG_WARN, NO_FLOW, "event=not_reached side=%s error=%s", s->label,
                  log_quote(why, strlen(why)));
        return false;
    }
    t.close(&t);
    return true;
}

static void find_master(struct side *s, struct endpoint *at)
{
    const struct url *u = &s->o->url;
    if (!u->sentinel) {
        for (unsigned i = 0; i + 1 < u->seeds; i++)
            if (reachable(s, &u->seed[i])) {
                *at = u->seed[i];
                return;
            }
        *at = u->seed[u->seeds - 1];
        return;
    }
    for (unsigned i = 0; i < u->seeds; i++)
        if (reachable(s, &u->seed[i]) && ask_sentinel(s, &u->seed[i], at))
            return;
    fatal(EXIT_CANNOT, "%s: no sentinel names a master %s", s->label, u->name);
}

void side_another(struct side *s, unsigned node, struct link *l)
{
    link_open(l, s->loop, &s->node[node].at, s->o->url.tls, s->label, side_timeout(s));
    l->loss = s->o->loss;
    login(s, l, s->o->url.user, s->o->url.password);
}

static void open_node(struct side *s, const struct endpoint *at)
{
    struct node *n = &s->node[s->nodes++];
    n->at = *at;
    n->links = xcalloc(s->nlinks, sizeof *n->links);
    for (unsigned k = 0; k < s->nlinks; k++) {
        side_another(s, s->nodes - 1, &n->links[k]);
        (void)MUST(s, &n->links[k], "PING");
    }
}

/* Its number; it is opened when it is a new one. */
static unsigned node_at(struct side *s, const struct endpoint *at)
{
    for (unsigned i = 0; i < s->nodes; i++)
        if (strcmp(s->node[i].at.host, at->host) == 0 && strcmp(s->node[i].at.port, at->port) == 0)
            return i;
    if (s->nodes == SIDE_NODES)
        fatal(EXIT_CANNOT, "%s: a cluster of more than %u masters", s->label, SIDE_NODES);
    s->node = xrealloc(s->node, (s->nodes + 1) * sizeof *s->node);
    open_node(s, at);
    return s->nodes - 1;
}

/* Entry at index at of CLUSTER SLOTS: first, last, [host, port …] of the master, replicas. */
static void take_slots(struct side *s, const struct reply *r, size_t at, const struct endpoint *seed)
{
    size_t first = reply_child(r, at, 0), last = reply_child(r, at, 1), master = reply_child(r, at, 2);
    size_t host = reply_child(r, master, 0), port = reply_child(r, master, 1);
    struct endpoint e = *seed;
    if (host >= r->n || port >= r->n || r->e[first].type != REPLY_INT || r->e[last].type != REPLY_INT ||
        r->e[port].type != REPLY_INT || r->e[last].n >= SLOTS || r->e[first].n > r->e[last].n)
        fatal(EXIT_CANNOT, "%s: CLUSTER SLOTS: not understood", s->label);
    snprintf(e.port, sizeof e.port, "%u", (unsigned)(r->e[port].n & 0xffff));
    if (elem_whole(&r->e[host]) && r->e[host].n > 0 && r->e[host].n < sizeof e.host) {
        memcpy(e.host, elem_text(r, &r->e[host]), r->e[host].n);
        e.host[r->e[host].n] = '\0';
    }
    if (!endpoint_ok(e.host, e.port))
        fatal(EXIT_CANNOT, "%s: CLUSTER SLOTS names no address", s->label);
    unsigned node = node_at(s, &e);
    for (uint64_t slot = r->e[first].n; slot <= r->e[last].n; slot++)
        s->owner[slot] = (uint16_t)node;
}

static void open_cluster(struct side *s, struct link *seed, const struct endpoint *at)
{
    unsigned missing = 0;
    struct reply slots;
    reply_init(&slots);
    for (unsigned i = 0; i < SLOTS; i++)
        s->owner[i] = NO_NODE;
    reply_swap(&slots, MUST(s, seed, "CLUSTER", "SLOTS"));
    reply_init(&seed->reply);
    for (uint64_t i = 0; i < slots.e[0].n; i++)
        take_slots(s, &slots, reply_child(&slots, 0, i), at);
    reply_free(&slots);
    for (unsigned i = 0; i < SLOTS; i++)
        missing += s->owner[i] == NO_NODE;
    if (missing > 0)
        fatal(EXIT_CANNOT, "%s: %u slots of the cluster have no server", s->label, missing);
}

void side_open(struct side *s, struct loop *loop, const struct side_options *o, const char *label)
{
    struct endpoint at;
    struct link seed;
    memset(s, 0, sizeof *s);
    s->o = o;
    s->label = label;
    s->loop = loop;
    s->nlinks = 1 + o->connections;
    url_show(&o->url, s->shown, sizeof s->shown);
    find_master(s, &at);
    link_open(&seed, loop, &at, o->url.tls, label, side_timeout(s));
    login(s, &seed, o->url.user, o->url.password);
    learn(s, &seed);
    if (o->url.cluster && !s->cluster && s->kind != SERVER_DRAGONFLY)
        fatal(EXIT_CANNOT, "%s: it is no cluster", seed.name);
    if (s->cluster || o->url.cluster) {
        s->cluster = true;
        open_cluster(s, &seed, &at);
    } else
        (void)node_at(s, &at);
    link_close(&seed);
    try_commands(s);
}
