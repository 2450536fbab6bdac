#include "handshake.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "record.h"

/* Replicas announce a port; nobody connects to it. */
#define ANNOUNCED_PORT "6399"

/* Version 4 is VER4 or VER5 on every master from v1.16: LSN markers yes, index opcodes no.
 * dragonfly-replication(7), Protocol versions.
 */
#define CLIENT_VERSION "4"

enum step {
    STEP_AUTH,
    STEP_PING,
    STEP_PORT,
    STEP_CAPA,
    STEP_DRAGONFLY,
    STEP_ID,
    STEP_VERSION,
    STEP_KEYSPACE,
    STEP_SERVER,
    STEP_STATS,
    STEP_DONE
};

static const struct {
    const char *name;
    int n;
    const char *args[5];
} steps[] = {
    [STEP_AUTH] = {.name = "AUTH"},
    [STEP_PING] = {"PING", 1, {"PING"}},
    [STEP_PORT] = {"REPLCONF listening-port", 3, {"REPLCONF", "listening-port", ANNOUNCED_PORT}},
    [STEP_CAPA] = {"REPLCONF capa", 5, {"REPLCONF", "capa", "eof", "capa", "psync2"}},
    [STEP_DRAGONFLY] = {"REPLCONF capa dragonfly", 3, {"REPLCONF", "capa", "dragonfly"}},
    [STEP_ID] = {"REPLCONF CLIENT-ID", 3, {"REPLCONF", "CLIENT-ID", NULL /* own_id */}},
    [STEP_VERSION] = {"REPLCONF CLIENT-VERSION", 3, {"REPLCONF", "CLIENT-VERSION", CLIENT_VERSION}},
    [STEP_KEYSPACE] = {"INFO keyspace", 2, {"INFO", "keyspace"}},
    [STEP_SERVER] = {"INFO server", 2, {"INFO", "server"}},
    [STEP_STATS] = {"INFO stats", 2, {"INFO", "stats"}},
};

struct reaction {
    const char *needle; /* part of the error's text */
    int status;
    const char *advice;
};

/* dragonfly-replication(7), HANDSHAKE. The first that fits counts. */
static const struct reaction reactions[] = {
    {"NOAUTH", EXIT_CANNOT,
     "the source wants a password: give it in the URL, with --password-file or in DF2REDIS_SOURCE_PASSWORD"},
    {"WRONGPASS", EXIT_CANNOT, "wrong user or password"},
    {"AUTH failed", EXIT_CANNOT, "wrong user or password"},
    {"invalid password", EXIT_CANNOT, "wrong user or password"},
    {"NOPERM", EXIT_CANNOT,
     "the user may not replicate: it needs +PING +REPLCONF +DFLY; without them --scan reads the keys"},
    {"LOADING", EXIT_RETRY, "the source is loading its data: try again later"},
    {"Replicating a replica", EXIT_CANNOT, "the source is a replica itself: name its master"},
    {"restricted command", EXIT_CANNOT,
     "replication is restricted to the admin port: use that port, or --scan"},
    {"max number of clients", EXIT_RETRY,
     "the source has no connections left; one more than it has shards is needed"},
    {"NOREPLICAS", EXIT_RETRY, "the source is not ready: try again later"},
    {"Bad TLS header", EXIT_CANNOT, "the source expects TLS: name it as dragonflys://"},
    {"unknown command", EXIT_CANNOT,
     "this is no Dragonfly master, or one that does not permit it: --scan reads its keys"},
    {"syntax error", EXIT_CANNOT, "the server is too old (v1.16 is needed) or no Dragonfly"},
    {"bad master id", EXIT_RETRY, "the session was lost"},
    {"syncid not found", EXIT_RETRY, "the session was lost"},
    {"bad sync id", EXIT_RETRY, "the session was lost"},
    {"invalid state", EXIT_RETRY, "the session was lost"},
    {"BUSY", EXIT_RETRY, "the source is busy: try again later"},
};

void fault_reply(struct fault *f, const char *command, const struct reply *r)
{
    if (r->top.type != REDIS_REPLY_ERROR) {
        fault_set(f, EXIT_CANNOT, "%s: unexpected reply %s", command,
                  r->top.type == REDIS_REPLY_ARRAY ? "(an array)"
                                                   : log_quote(r->top.text, strlen(r->top.text)));
        return;
    }
    const struct reaction *hit = NULL;
    for (size_t i = 0; i < sizeof reactions / sizeof *reactions && hit == NULL; i++)
        if (strcasestr(r->top.text, reactions[i].needle) != NULL)
            hit = &reactions[i];
    if (hit != NULL)
        fault_set(f, hit->status, "%s: %s (%s)", command, hit->advice, r->top.text);
    else
        fault_set(f, strncmp(command, "DFLY", 4) == 0 ? EXIT_RETRY : EXIT_CANNOT,
                  "%s: the source refuses: %s", command, r->top.text);
}

static int send_step(struct handshake *h, struct conn *c)
{
    const char *args[5];
    int rc = h->step == STEP_AUTH ? conn_auth(c, h->url) : 0;
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (h->step == STEP_AUTH)
        h->step = STEP_PING;
    if (h->step >= STEP_KEYSPACE) {
        h->info.len = 0;
        c->reply.whole = &h->info;
    }
    memcpy(args, steps[h->step].args, sizeof args);
    if (h->step == STEP_ID)
        args[2] = h->own_id;
    return conn_request(c, steps[h->step].n, args);
}

int handshake_begin(struct handshake *h, struct conn *c, const struct url *u)
{
    char hex[2][33];
    random_hex(hex[0]);
    random_hex(hex[1]);
    snprintf(h->own_id, sizeof h->own_id, "%s%.8s", hex[0], hex[1]);
    h->url = u;
    h->info = (struct buf){.max = REPLY_MAX};
    h->version[0] = '\0';
    h->omits = -1;
    h->step = STEP_AUTH;
    return send_step(h, c);
}

/* Ids are passed on in lines of words, and logged. */
static bool is_word(const struct item *it)
{
    return it->len == strlen(it->text) && meta_is_word(it->text);
}

int handshake_session(const char *own_id, const struct reply *r, struct sessinfo *s, struct fault *f)
{
    if (reply_is(r, "OK")) {
        fault_set(f, EXIT_CANNOT, "the source is a Redis or Valkey, no Dragonfly: name it as redis://");
        return -1;
    }
    if (r->top.type != REDIS_REPLY_ARRAY) {
        fault_reply(f, "REPLCONF capa dragonfly", r);
        return -1;
    }
    const struct item *e = r->el;
    if (r->count < 3 || e[0].type != REDIS_REPLY_STATUS || e[1].type != REDIS_REPLY_STATUS ||
        e[2].type != REDIS_REPLY_INTEGER || e[0].len != REPLID_LEN || e[1].len == 0 ||
        e[1].len >= sizeof s->session || !is_word(&e[0]) || !is_word(&e[1]) || e[2].num < 1 ||
        e[2].num > REC_FLOWS_MAX) {
        fault_set(f, EXIT_CANNOT, "REPLCONF capa dragonfly: malformed reply");
        return -1;
    }
    if (strcmp(e[0].text, own_id) == 0) {
        fault_set(f, EXIT_CANNOT, "the source answers with our own id: a loop");
        return -1;
    }
    strlcpy(s->lineage.replid, e[0].text, sizeof s->lineage.replid);
    strlcpy(s->session, e[1].text, sizeof s->session);
    s->flows = (unsigned)e[2].num;
    s->protocol = 0;
    s->lineage.top[0] = '\0';
    if (r->count >= 4 && e[3].type == REDIS_REPLY_INTEGER && e[3].num > 0 && e[3].num < 10000)
        s->protocol = (unsigned)e[3].num;
    if (r->count >= 5 && e[4].type == REDIS_REPLY_STATUS && is_word(&e[4]) &&
        e[4].len < sizeof s->lineage.top)
        strlcpy(s->lineage.top, e[4].text, sizeof s->lineage.top);
    return 0;
}

/* Lines "db0:keys=…". */
void handshake_keyspace(const char *p, size_t n, struct sessinfo *s)
{
    struct buf list = {.max = sizeof s->dbs - 1};
    const char *end = p + n;
    s->dbs_known = true;
    s->keys = 0;
    for (const char *nl; p < end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            nl = end - 1;
        unsigned db;
        unsigned long long keys;
        char line[64] = "";
        memcpy(line, p, (size_t)(nl - p) < sizeof line - 1 ? (size_t)(nl - p) : sizeof line - 1);
        if (sscanf(line, "db%u:keys=%llu", &db, &keys) != 2 || keys == 0)
            continue;
        s->keys += keys;
        s->dbs_known = buf_addf(&list, "%s%u", list.len > 0 ? "," : "", db) == 0 && s->dbs_known;
    }
    snprintf(s->dbs, sizeof s->dbs, "%.*s", s->dbs_known ? (int)list.len : 0, (const char *)list.p);
    buf_free(&list);
}

int handshake_flow(const struct reply *r, bool may_go_on, bool *partial, char token[static TOKEN_LEN + 1],
                   struct fault *f)
{
    if (r->top.type != REDIS_REPLY_ARRAY) {
        fault_reply(f, "DFLY FLOW", r);
        return -1;
    }
    if (r->count < 2 || r->el[0].type != REDIS_REPLY_STATUS || r->el[1].type != REDIS_REPLY_STATUS) {
        fault_set(f, EXIT_RETRY, "DFLY FLOW: malformed reply");
        return -1;
    }
    *partial = strcmp(r->el[0].text, "PARTIAL") == 0;
    if (*partial ? !may_go_on : strcmp(r->el[0].text, "FULL") != 0) {
        fault_set(f, EXIT_RETRY, "DFLY FLOW: the master answers %s where a %s sync was asked for",
                  log_quote(r->el[0].text, strnlen(r->el[0].text, 20)),
                  may_go_on ? "full or partial" : "full");
        return -1;
    }
    if (r->el[1].len != TOKEN_LEN || strlen(r->el[1].text) != TOKEN_LEN) {
        fault_set(f, EXIT_RETRY, "DFLY FLOW: the EOF token has %zu bytes instead of %d", r->el[1].len,
                  TOKEN_LEN);
        return -1;
    }
    memcpy(token, r->el[1].text, TOKEN_LEN + 1);
    return 0;
}

long long handshake_omits(const char *stats)
{
    const char *at = strstr(stats, "total_journal_omits:");
    return at != NULL ? strtoll(at + strlen("total_journal_omits:"), NULL, 10) : -1;
}

/* What an INFO says. A user without the right to it may do without. */
static void take_info(struct handshake *h, const struct reply *r, struct sessinfo *s)
{
    static const char name[] = "dragonfly_version:";
    s->dbs_known = s->dbs_known && h->step != STEP_KEYSPACE;
    if (r->top.type != REDIS_REPLY_STRING || h->info.len != r->top.len)
        return;
    if (h->step == STEP_KEYSPACE) {
        handshake_keyspace((const char *)h->info.p, h->info.len, s);
        return;
    }
    if (buf_add(&h->info, "", 1) < 0)
        return;
    const char *text = (const char *)h->info.p, *at = strstr(text, name);
    if (h->step == STEP_STATS)
        h->omits = handshake_omits(text);
    else if (at != NULL)
        snprintf(h->version, sizeof h->version, "%.*s", (int)strcspn(at + sizeof name - 1, "\r\n"),
                 at + sizeof name - 1);
}

int handshake_reply(struct handshake *h, struct conn *c, struct sessinfo *s, struct fault *f)
{
    const struct reply *r = &c->reply;
    bool good = h->step == STEP_PING ? reply_is(r, "PONG") : reply_is(r, "OK");
    if (h->step == STEP_DRAGONFLY) {
        if (handshake_session(h->own_id, r, s, f) < 0)
            return -1;
    } else if (h->step == STEP_ID && r->top.type == REDIS_REPLY_ERROR) {
        log_event(LOG_INFO, NO_FLOW, "event=client_id_refused reply=%s",
                  log_quote(r->top.text, strlen(r->top.text)));
    } else if (h->step >= STEP_KEYSPACE) {
        c->reply.whole = NULL;
        take_info(h, r, s);
    } else if (!good) {
        fault_reply(f, steps[h->step].name, r);
        return -1;
    }
    if (++h->step == STEP_DONE) {
        buf_free(&h->info);
        return 1;
    }
    if (send_step(h, c) < 0) {
        fault_set(f, EXIT_RETRY, "the master closed the connection during the handshake");
        return -1;
    }
    return 0;
}
