#include "seek.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "call.h"
#include "log.h"
#include "target.h"
#include "tls.h"
#include "signals.h"
#include "writer.h"

#define SENTINEL_MS 3000 /* for each answer of a sentinel; the next one may know better */
#define EXPLAIN_MS  2000

/* The first signal only asks to go on to the end of the input: it must not end a connect. */
static enum seek connect_to(const struct options *o, const struct endpoint *e, int ms, struct transport *t,
                            char *why, size_t whylen)
{
    bool hopeless;
    int rc;
    do
        rc = transport_connect(t, e, o->url.tls, ms, why, whylen, &hopeless);
    while (rc < 0 && errno == EINTR && signals_seen() < 2);
    return rc == 0 ? SEEK_OK : hopeless ? SEEK_FATAL : SEEK_GONE;
}

/* ---- sentinels ---- */

static enum seek refusal(const struct endpoint *s, const struct transport *t, const redisReply *r,
                         const char *what, char *why, size_t whylen)
{
    if (r == NULL) {
        bool hopeless = t->hopeless;
        snprintf(why, whylen, "sentinel %s:%s: %s: %s", s->host, s->port, what, call_reason(t));
        return hopeless ? SEEK_FATAL : SEEK_GONE;
    }
    snprintf(why, whylen, "sentinel %s:%s: %s: %s", s->host, s->port, what,
             r->type == REDIS_REPLY_ERROR ? r->str : "unexpected reply");
    return SEEK_FATAL;
}

/* Ask on t for the master's address. */
static enum seek ask_address(const struct options *o, const struct endpoint *s, struct transport *t,
                             struct endpoint *master, char *why, size_t whylen)
{
    bool needed;
    redisReply *r = call_auth(t, SENTINEL_MS, o->sentinel_user, o->sentinel_password, &needed);
    if (needed && (r == NULL || r->type == REDIS_REPLY_ERROR)) {
        enum seek verdict = refusal(s, t, r, "AUTH", why, whylen);
        freeReplyObject(r);
        return verdict;
    }
    freeReplyObject(r);
    r = call(t, SENTINEL_MS, "SENTINEL", "get-master-addr-by-name", o->url.name, NULL);
    enum seek verdict = SEEK_OK;
    if (r != NULL && (r->type == REDIS_REPLY_NIL || (r->type == REDIS_REPLY_ARRAY && r->elements == 0))) {
        snprintf(why, whylen, "sentinel %s:%s knows no master by the name of %s", s->host, s->port,
                 o->url.name);
        verdict = SEEK_UNKNOWN;
    } else if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
               r->element[0]->type != REDIS_REPLY_STRING || r->element[1]->type != REDIS_REPLY_STRING ||
               strlcpy(master->host, r->element[0]->str, sizeof master->host) >= sizeof master->host ||
               strlcpy(master->port, r->element[1]->str, sizeof master->port) >= sizeof master->port) {
        verdict = refusal(s, t, r, "SENTINEL get-master-addr-by-name", why, whylen);
    } else if (!endpoint_ok(master->host, master->port)) {
        snprintf(why, whylen, "sentinel %s:%s: what it names is no host and port", s->host, s->port);
        *master = (struct endpoint){.host = ""};
        verdict = SEEK_FATAL;
    }
    freeReplyObject(r);
    return verdict;
}

/* Which of two failures tells more about what to do? */
static unsigned weight(enum seek v)
{
    switch (v) {
    case SEEK_LATER: return 3;
    case SEEK_UNKNOWN: return 2;
    case SEEK_GONE: return 1;
    default: return 0;
    }
}

/* Ask one sentinel, and go where it says. */
static enum seek ask_sentinel(const struct options *o, const struct endpoint *s, struct transport *t,
                              struct endpoint *master, char *why, size_t whylen)
{
    struct transport st;
    int ms = o->connect_timeout * 1000;
    enum seek v = connect_to(o, s, ms < SENTINEL_MS ? ms : SENTINEL_MS, &st, why, whylen);
    if (v != SEEK_OK)
        return v;
    v = ask_address(o, s, &st, master, why, whylen);
    st.close(&st);
    if (v != SEEK_OK)
        return v;
    log_event(LOG_INFO, NO_FLOW, "event=sentinel_says sentinel=%s:%s master=%s:%s", s->host, s->port,
              master->host, master->port);
    v = connect_to(o, master, ms, t, why, whylen);
    return v == SEEK_GONE ? SEEK_LATER : v;
}

enum seek seek_target(const struct options *o, unsigned first, struct transport *t, struct endpoint *at,
                      char *why, size_t whylen)
{
    enum seek worst = SEEK_FATAL;
    char reason[400];
    for (unsigned i = 0; i < o->url.seeds && signals_seen() < 2; i++) {
        const struct endpoint *seed = &o->url.seed[(first + i) % o->url.seeds];
        enum seek v;
        *at = *seed;
        if (o->url.sentinel)
            v = ask_sentinel(o, seed, t, at, reason, sizeof reason);
        else
            v = connect_to(o, seed, o->connect_timeout * 1000, t, reason, sizeof reason);
        if (v == SEEK_OK)
            return v;
        if (i > 0 && weight(v) <= weight(worst))
            continue;
        worst = v;
        strlcpy(why, reason, whylen);
    }
    return worst;
}

/* ---- a replica ---- */

static void say_master(const struct options *o, const char *info)
{
    char role[16], host[256], port[16];
    info_field(info, "role", role, sizeof role);
    if (strcmp(role, "slave") != 0 && strcmp(role, "replica") != 0)
        return;
    info_field(info, "master_host", host, sizeof host);
    info_field(info, "master_port", port, sizeof port);
    if (!endpoint_ok(host, port))
        return;
    log_event(LOG_WARN, NO_FLOW, "event=target_is_a_replica target=%s master=\"%s\":%s note=%s", o->shown,
              host, port, "\"it refuses writes: if it stays so, name its master\"");
}

void seek_explain_replica(const struct options *o)
{
    struct transport t;
    char why[400];
    bool needed;
    if (connect_to(o, &o->url.seed[0], EXPLAIN_MS, &t, why, sizeof why) != SEEK_OK)
        return; /* the connection that was refused will notice */
    redisReply *r = call_auth(&t, EXPLAIN_MS, o->url.user, o->url.password, &needed);
    bool in = !needed || r != NULL;
    freeReplyObject(r);
    r = in ? call(&t, EXPLAIN_MS, "INFO", "replication", NULL) : NULL;
    if (r != NULL && r->type == REDIS_REPLY_STRING)
        say_master(o, r->str);
    freeReplyObject(r);
    t.close(&t);
}
