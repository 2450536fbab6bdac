/*
 * The master is a cluster: three masters, one of them with a replica, which takes over when it is told to.
 * All nodes announce the ports of relays, which cut, stall and hold back what dfreader has with them; clients
 * and moving slots go directly.
 */
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "psync.h"
#include "slotset.h"
#include "traffic.h"

#define REPLICA (SOURCES - 1)

static struct sources cluster;

/* ---- what a node says ---- */

struct standing {
    bool master;
    char replid[2][41];
    uint64_t offset, second;
};

static bool field(const char *info, const char *name, char *out, size_t room)
{
    char line[64];
    snprintf(line, sizeof line, "\n%s:", name);
    const char *at = strstr(info, line);
    if (!at)
        return false;
    at += strlen(line);
    snprintf(out, room, "%.*s", (int)strcspn(at, "\r\n"), at);
    return true;
}

static bool standing_of(struct server *s, struct standing *st)
{
    char role[16], offset[24], second[24];
    redisReply *r = server_call(s, "INFO replication");
    bool ok = r && r->type == REDIS_REPLY_STRING && field(r->str, "role", role, sizeof role) &&
              field(r->str, "master_replid", st->replid[0], sizeof st->replid[0]) &&
              field(r->str, "master_replid2", st->replid[1], sizeof st->replid[1]) &&
              field(r->str, "master_repl_offset", offset, sizeof offset) &&
              field(r->str, "second_repl_offset", second, sizeof second);
    if (ok) {
        st->master = strcmp(role, "master") == 0;
        st->offset = strtoull(offset, NULL, 10);
        st->second = *second == '-' ? 0 : strtoull(second, NULL, 10);
    }
    freeReplyObject(r);
    return ok;
}

bool server_slots(struct server *s, struct slotset *owned)
{
    char text[SLOTSET_TEXT] = "";
    redisReply *r = server_call(s, "CLUSTER NODES");
    char *line = r && r->type == REDIS_REPLY_STRING ? strstr(r->str, "myself") : NULL, *word, *save = NULL;
    if (!line) {
        freeReplyObject(r);
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    size_t n = 0;
    unsigned fields = 0;
    for (word = strtok_r(line, " ", &save); word && n < sizeof text; word = strtok_r(NULL, " ", &save))
        if (++fields > 6 && *word != '[') /* behind "connected" */
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "", word);
    freeReplyObject(r);
    return slotset_parse(owned, n ? text : "-");
}

static bool follows(struct server *s)
{
    char link[16] = "";
    redisReply *r = server_call(s, "INFO replication");
    bool up = r && r->type == REDIS_REPLY_STRING && field(r->str, "master_link_status", link, sizeof link) &&
              strcmp(link, "up") == 0;
    freeReplyObject(r);
    return up;
}

/* ---- begin and end ---- */

static void choose_window(struct window *w)
{
    static const unsigned first[] = {0, 5461, 10923, SLOTS};
    w->shard = (unsigned)below(NODES);
    unsigned all = first[w->shard + 1] - first[w->shard];
    w->count = opt.move < all ? (unsigned)opt.move : all - 1;
    w->first = first[w->shard] + (unsigned)below(all - w->count);
}

/* Half of the keys are in slots that move. */
static void choose_tags(struct sources *c)
{
    char text[16];
    unsigned number = 0;
    for (unsigned i = 0; i < TAGS; number++) {
        int n = snprintf(text, sizeof text, "%u", number);
        unsigned slot = key_slot(text, (size_t)n);
        bool moves = slot >= c->window.first && slot < c->window.first + c->window.count;
        if (moves == (i % 2 == 0))
            c->tag[i++] = number;
    }
}

static void start_nodes(struct source *s)
{
    static const char *const names[SOURCES] = {"master", "master-1", "master-2", "replica"};
    for (unsigned i = 0; i < SOURCES; i++) {
        struct server *node = &s->cluster->node[i];
        remove_tree(file("%s", names[i]));
        *node = (struct server){.name = names[i], .source = true, .cluster = true, .port = free_port()};
        source_options(node, false);
        node->option[8] = "--cluster-migration-barrier";
        node->option[9] = "5";
        proxy_start(&s->proxy[i], distance_to(node->port, &node->relay), (int64_t)opt.lag * 1000);
        node->far = s->proxy[i].port;
        server_start(node);
    }
    s->proxies = SOURCES;
}

static void add_replica(struct sources *c)
{
    struct server *m = &c->node[0], *r = &c->node[REPLICA];
    redisReply *id = server_call(m, "CLUSTER MYID");
    freeReplyObject(server_call(r, "CLUSTER MEET 127.0.0.1 %u %u", m->port, m->port + 10000));
    for (int64_t limit = now_us() + 20 * SECOND; !follows(r); sleep_us(100000)) {
        freeReplyObject(server_call(r, "CLUSTER REPLICATE %s", id->str)); /* when it knows the master */
        if (now_us() > limit)
            fail("the source's replica does not come up");
    }
    freeReplyObject(id);
}

void sources_wait(struct source *s)
{
    cluster_wait(s->cluster->node, SOURCES);
}

void sources_start(struct source *s, uint64_t seed)
{
    s->cluster = &cluster;
    s->flows = MAX_FLOWS; /* those without a master included */
    s->dbs = 1;
    choose_window(&cluster.window);
    choose_tags(&cluster);
    start_nodes(s);
    cluster_make(cluster.node, NODES);
    add_replica(&cluster);
    if (one_in(2)) /* so that the full sync takes a while */
        for (unsigned i = 0; i < SOURCES; i++)
            freeReplyObject(server_call(&cluster.node[i], "CONFIG SET rdb-key-save-delay 2000"));
    sources_wait(s);
    s->oracle = s->master = cluster.node[0];
    feeder_start(s, seed);
    feeder_order('p'); /* the data is there */
    moves_start(&cluster);
}

void sources_stop(struct source *s)
{
    moves_end();
    for (unsigned i = 0; i < SOURCES; i++)
        server_end(&s->cluster->node[i]);
}

/* ---- faults ---- */

struct server *sources_some(struct source *s, bool master)
{
    struct standing st;
    unsigned first = (unsigned)below(SOURCES);
    for (unsigned i = 0; i < SOURCES; i++) {
        struct server *node = &s->cluster->node[(first + i) % SOURCES];
        if (standing_of(node, &st) && st.master == master)
            return node;
    }
    fail("the source has no %s", master ? "master" : "replica");
}

bool sources_fail_over(struct source *s)
{
    struct standing st;
    struct server *r = sources_some(s, false);
    if (!follows(r))
        return false;
    redisReply *reply = server_call(r, "CLUSTER FAILOVER");
    bool ok = reply && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    for (int64_t limit = now_us() + 10 * SECOND; ok && now_us() < limit; attend(10000))
        if (standing_of(r, &st) && st.master)
            return true;
    return false;
}

/* ---- has the target what the masters have? ---- */

static bool has_all_of(const struct place place[MAX_FLOWS], struct server *node, const struct standing *st)
{
    struct slotset owned, held;
    if (!server_slots(node, &owned))
        return false;
    for (unsigned i = 0; i < MAX_FLOWS; i++)
        if (strcmp(place[i].replid, st->replid[0]) == 0 && psync_offset(place[i].pos) == st->offset)
            return place[i].slots && slotset_parse(&held, place[i].slots) && slotset_same(&owned, &held);
    return false;
}

bool sources_reached(struct source *s)
{
    struct place place[MAX_FLOWS];
    struct standing st;
    bool all = check_places(place);
    for (unsigned i = 0; all && i < SOURCES; i++)
        all = standing_of(&s->cluster->node[i], &st) &&
              (!st.master || has_all_of(place, &s->cluster->node[i], &st));
    places_free(place);
    return all;
}

static bool goes_on(struct server *node, const struct standing *st, const struct place *p)
{
    uint64_t offset = psync_offset(p->pos);
    bool own = strcmp(st->replid[0], p->replid) == 0,
         before = strcmp(st->replid[1], p->replid) == 0 && offset + 1 <= st->second;
    return st->master && (own || before) && server_covers(node, offset) == COVER_ALL;
}

unsigned sources_covered(struct source *s)
{
    struct place place[MAX_FLOWS];
    struct standing st;
    unsigned n = 0;
    bool known = check_places(place);
    for (unsigned i = 0; known && i < SOURCES; i++) {
        struct server *node = &s->cluster->node[i];
        if (!standing_of(node, &st))
            continue;
        for (unsigned f = 0; f < MAX_FLOWS; f++)
            n += place[f].replid[0] && goes_on(node, &st, &place[f]);
    }
    places_free(place);
    return n;
}
