#include "locate.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "inquire.h"
#include "log.h"
#include "redis/psync_reply.h"
#include "sock.h"

#define SENTINEL_REPLY ((size_t)1 << 20)

/* ---- sentinels ---- */

/* Text number i of an array; "": there is none. */
static const char *text_of(const redisReply *r, size_t i)
{
    bool there = r != NULL && r->type == REDIS_REPLY_ARRAY && i < r->elements;
    return there && r->element[i]->type == REDIS_REPLY_STRING && r->element[i]->str != NULL
               ? r->element[i]->str
               : "";
}

/* Of a list name, value, name, value … */
static const char *value_of(const redisReply *r, const char *name)
{
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2)
        if (strcmp(text_of(r, i), name) == 0)
            return text_of(r, i + 1);
    return "";
}

static bool take_address(struct url *at, const char *host, const char *port)
{
    if (!endpoint_ok(host, port) || strcmp(port, "0") == 0) /* 0: a client like us, which Sentinel lists */
        return false;
    strlcpy(at->seed[0].host, host, sizeof at->seed[0].host);
    strlcpy(at->seed[0].port, port, sizeof at->seed[0].port);
    strlcpy(at->host, host, sizeof at->host);
    strlcpy(at->port, port, sizeof at->port);
    return true;
}

static int ask_sentinel(struct inquiry *q, const char *what, const char *name, struct fault *f)
{
    const char *const args[] = {"SENTINEL", what, name};
    return inquire(q, 3, args, f);
}

/* Returns 1, 0: it does not know the name, -1 with f. */
static int take_master(struct inquiry *q, const struct options *o, struct url *at, struct fault *f)
{
    if (ask_sentinel(q, "get-master-addr-by-name", o->url.name, f) < 0)
        return -1;
    redisReply *r = q->conn.object;
    bool unknown = r->type == REDIS_REPLY_NIL || (r->type == REDIS_REPLY_ARRAY && r->elements == 0);
    bool taken = !unknown && take_address(at, text_of(r, 0), text_of(r, 1));
    if (r->type == REDIS_REPLY_ERROR)
        psync_refused(f, "SENTINEL", r->str);
    else if (!taken)
        fault_set(f, EXIT_CANNOT, "it knows no master by the name of %s", o->url.name);
    freeReplyObject(r);
    return taken ? 1 : unknown ? 0 : -1;
}

/* A replica that is up and in sync with its master. */
static bool usable(const redisReply *r)
{
    return strcmp(value_of(r, "flags"), "slave") == 0 && strcmp(value_of(r, "master-link-status"), "ok") == 0;
}

/* Returns 1, 0: there is none, -1 with f. */
static int take_replica(struct inquiry *q, const struct options *o, struct url *at, struct fault *f)
{
    if (ask_sentinel(q, "replicas", o->url.name, f) < 0)
        return -1;
    redisReply *r = q->conn.object;
    bool taken = false;
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements && !taken; i++)
        taken = usable(r->element[i]) &&
                take_address(at, value_of(r->element[i], "ip"), value_of(r->element[i], "port"));
    freeReplyObject(r);
    return taken ? 1 : 0;
}

static int take_answer(struct inquiry *q, const struct options *o, struct url *at, struct fault *f)
{
    int rc = o->from == FROM_MASTER ? 0 : take_replica(q, o, at, f);
    if (rc != 0)
        return rc;
    rc = take_master(q, o, at, f); /* says as well whether it knows the name */
    if (rc > 0 && o->from == FROM_REPLICA) {
        fault_set(f, EXIT_RETRY, "no replica of %s is in sync with its master", o->url.name);
        return -1;
    }
    return rc;
}

/* One sentinel. Returns 1, 0: it does not know the name, -1: it is of no use; with f. */
static int ask_one(const struct options *o, unsigned i, enum log_level level, struct url *at, struct fault *f)
{
    struct inquiry q;
    struct fault why;
    struct url sentinel = o->url;
    char shown[300];
    sentinel.seed[0] = o->url.seed[i];
    sentinel.seeds = 1;
    strlcpy(sentinel.user, o->sentinel_user != NULL ? o->sentinel_user : "", sizeof sentinel.user);
    strlcpy(sentinel.password, o->sentinel_password, sizeof sentinel.password);
    int rc = inquire_open(&q, &sentinel, o->connect_timeout * 1000, &why);
    if (rc == 0) {
        conn_keep_objects(&q.conn, SENTINEL_REPLY);
        rc = take_answer(&q, o, at, &why);
        inquire_close(&q);
    }
    snprintf(shown, sizeof shown, "%s:%s", o->url.seed[i].host, o->url.seed[i].port);
    if (rc > 0)
        log_event(level, NO_FLOW, "event=sentinel_says sentinel=%s source=%s:%s", shown, at->host, at->port);
    else
        fault_set(f, why.status, "sentinel %s: %s", shown, why.text);
    return rc;
}

static int locate_by_sentinels(const struct options *o, enum log_level level, struct url *at, struct fault *f)
{
    bool later = false, unknown = false;
    struct fault one;
    for (unsigned i = 0; i < o->url.seeds && signals_seen() == 0; i++) {
        int rc = ask_one(o, i, level, at, &one);
        if (rc > 0)
            return 0;
        if (i == 0 || rc == 0) /* the one that answers says more */
            *f = one;
        unknown = unknown || rc == 0;
        later = later || one.status == EXIT_RETRY;
    }
    if (later && !unknown)
        f->status = EXIT_RETRY;
    return -1;
}

static void begin(const struct options *o, struct url *at, struct fault *f)
{
    *at = o->url;
    strlcpy(at->scheme, o->url.secure ? "rediss" : "redis", sizeof at->scheme);
    at->sentinel = false;
    at->seeds = 1;
    fault_set(f, EXIT_PARTIAL, "stopped before the source was known");
}

int locate(const struct options *o, struct url *at, struct fault *f)
{
    *at = o->url;
    if (!o->url.sentinel)
        return 0;
    begin(o, at, f);
    return locate_by_sentinels(o, LOG_INFO, at, f);
}

int locate_soon(const struct options *o, struct url *at, struct fault *f)
{
    struct options quick = *o;
    *at = o->url;
    if (!o->url.sentinel)
        return 0;
    quick.connect_timeout = 2;
    begin(o, at, f);
    return locate_by_sentinels(&quick, LOG_DEBUG, at, f);
}

/* Does the server itself say that it is a master? */
static bool is_master(const struct options *o, const struct url *u)
{
    static const char *const info[] = {"INFO", "replication"};
    struct inquiry q;
    struct fault f;
    struct buf text = {.max = REPLY_MAX};
    char role[16] = "";
    if (inquire_open(&q, u, o->connect_timeout * 1000, &f) < 0)
        return false;
    q.conn.reply.whole = &text;
    if (inquire(&q, 2, info, &f) == 0 && buf_add(&text, "", 1) == 0)
        (void)info_field((const char *)text.p, "role", role, sizeof role);
    buf_free(&text);
    inquire_close(&q);
    return strcmp(role, "master") == 0;
}

int locate_again(const struct options *o, const struct url *at, struct url *now)
{
    struct options quick = *o;
    struct fault f;
    quick.connect_timeout = 1;
    begin(o, now, &f);
    if (locate_by_sentinels(&quick, LOG_DEBUG, now, &f) < 0)
        return -1;
    if (strcmp(now->host, at->host) == 0 && strcmp(now->port, at->port) == 0)
        return 0;
    return is_master(&quick, now) ? 1 : 0; /* a sentinel may be behind the others */
}

/* ---- what it is ---- */

bool locate_dragonfly(const struct options *o)
{
    static const char *const info[] = {"INFO", "server"};
    struct inquiry q;
    struct fault f;
    struct buf text = {.max = REPLY_MAX};
    char version[48] = "";
    if (inquire_open(&q, &o->url, o->connect_timeout * 1000, &f) < 0)
        return false; /* the session will say so */
    q.conn.reply.whole = &text;
    if (inquire(&q, 2, info, &f) == 0 && buf_add(&text, "", 1) == 0)
        info_version((const char *)text.p, version, sizeof version);
    buf_free(&text);
    inquire_close(&q);
    return strncmp(version, "dragonfly:", 10) == 0;
}
