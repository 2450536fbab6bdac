#include "target.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/string.h>

#include "call.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "server.h"
#include "suspect.h"
#include "signals.h"
#include "writer.h"

#define CALL_MS      20000
#define WORD         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_+"
#define BULK_DEFAULT ((uint64_t)512 << 20)

/* ---- one command, one reply ---- */

redisReply *target_call(struct node *n, int timeout_ms, ...)
{
    const char *arg[CALL_ARGS_MAX];
    va_list ap;
    va_start(ap, timeout_ms);
    unsigned argc = call_collect(arg, ap);
    va_end(ap);
    return call_argv(&n->wire.t, timeout_ms, arg, argc);
}

void target_lose(struct node *n, const char *command, const char *why)
{
    n->in_call = true;
    node_lose(n, "%s: %s", command, why);
}

/* The same, but a refusal that passes is waited out, as long as a lost target would be looked for. */
static redisReply *call_patiently(struct writer *w, struct node *n, int timeout_ms, const char **arg,
                                  unsigned argc)
{
    uint64_t give_up = mono_us() + (uint64_t)w->opt.reconnect_timeout * 1000000;
    for (;;) {
        redisReply *r = call_argv(&n->wire.t, timeout_ms, arg, argc);
        if (r == NULL)
            target_lose(n, arg[0], call_reason(&n->wire.t));
        if (r == NULL || r->type != REDIS_REPLY_ERROR || error_class(r->str, r->len) != ERR_RETRY ||
            mono_us() >= give_up || signals_seen() >= 2)
            return r;
        node_refused(n, NULL, r->str, r->len);
        n->patience.until = 0;
        freeReplyObject(r);
        if (n->lost) /* by the refusal: the target is elsewhere now */
            return NULL;
        usleep(100000);
    }
}

/* Fail over a refusal. r is freed. */
static void refused(struct writer *w, struct node *n, const char *command, redisReply *r)
{
    bool passes = error_class(r->str, r->len) == ERR_RETRY;
    writer_fail(w, passes ? EXIT_RETRY : EXIT_CANNOT, "event=command_refused command=%s reply=%s", command,
                log_quote(r->str, r->len));
    n->dead = true;
    freeReplyObject(r);
}

/* The reply, or NULL. */
static redisReply *must(struct writer *w, struct node *n, int timeout_ms, const char **arg, unsigned argc)
{
    redisReply *r = call_patiently(w, n, timeout_ms, arg, argc);
    if (r == NULL)
        return NULL;
    if (r->type == REDIS_REPLY_ERROR) {
        refused(w, n, arg[0], r);
        return NULL;
    }
    node_succeeded(n);
    return r;
}

redisReply *target_answer(struct writer *w, struct node *n, int timeout_ms, ...)
{
    const char *arg[CALL_ARGS_MAX];
    va_list ap;
    va_start(ap, timeout_ms);
    unsigned argc = call_collect(arg, ap);
    va_end(ap);
    return must(w, n, timeout_ms, arg, argc);
}

enum { REPLY_ANY, REPLY_QUEUED };

/* Is it what the command answers? It is freed. */
static bool fits(struct node *n, const char *command, int what, redisReply *r)
{
    if (r == NULL)
        return false;
    struct buf b = {.max = 64};
    (void)resp_add_array(&b, 1);
    (void)resp_add_str(&b, command);
    bool ok = what == REPLY_QUEUED ? r->type == REDIS_REPLY_STATUS && strcmp(r->str, "QUEUED") == 0
                                   : reply_fits(b.p, b.len, r->type);
    if (!ok)
        target_lose(n, command, "unexpected reply");
    buf_free(&b);
    freeReplyObject(r);
    return ok;
}

bool target_must(struct writer *w, struct node *n, int timeout_ms, ...)
{
    const char *arg[CALL_ARGS_MAX];
    va_list ap;
    va_start(ap, timeout_ms);
    unsigned argc = call_collect(arg, ap);
    va_end(ap);
    return fits(n, arg[0], REPLY_ANY, must(w, n, timeout_ms, arg, argc));
}

bool target_queued(struct writer *w, struct node *n, int timeout_ms, ...)
{
    const char *arg[CALL_ARGS_MAX];
    va_list ap;
    va_start(ap, timeout_ms);
    unsigned argc = call_collect(arg, ap);
    va_end(ap);
    return fits(n, arg[0], REPLY_QUEUED, must(w, n, timeout_ms, arg, argc));
}

bool target_exec(struct writer *w, struct node *n, int timeout_ms, unsigned commands)
{
    const char *arg[] = {"EXEC"};
    redisReply *r = must(w, n, timeout_ms, arg, 1);
    bool whole = r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == commands;
    for (unsigned i = 0; whole && i < commands; i++)
        whole = r->element[i]->type == REDIS_REPLY_INTEGER; /* DEL and HSET */
    if (r != NULL && !whole)
        target_lose(n, "EXEC", "unexpected reply");
    freeReplyObject(r);
    return whole;
}

bool target_request(struct writer *w, struct node *n, int timeout_ms, const char *what, const void *request,
                    size_t len)
{
    uint64_t give_up = mono_us() + (uint64_t)w->opt.reconnect_timeout * 1000000;
    for (;;) {
        redisReply *r = call_request(&n->wire.t, timeout_ms, request, len);
        if (r == NULL) {
            target_lose(n, what, call_reason(&n->wire.t));
            return false;
        }
        if (r->type != REDIS_REPLY_ERROR)
            return fits(n, what, REPLY_ANY, r);
        if (error_class(r->str, r->len) != ERR_RETRY || mono_us() >= give_up || signals_seen() >= 2) {
            refused(w, n, what, r);
            return false;
        }
        struct named asks = {request, len, 0, len};
        node_refused(n, &asks, r->str, r->len);
        n->patience.until = 0;
        freeReplyObject(r);
        if (n->lost)
            return false;
        usleep(100000);
    }
}

/* ---- what it is ---- */

/* What stands behind the numbers of a version is left out. False: it is none. */
static bool rdb_of(enum server_kind kind, const char *version, unsigned *rdb)
{
    char text[32];
    unsigned v;
    strlcpy(text, version, sizeof text);
    text[strspn(text, "0123456789.")] = '\0';
    if (!server_version_parse(text, &v))
        return false;
    *rdb = server_rdb(kind, v);
    return true;
}

/* A Dragonfly loads no more than the Redis that it claims to be. */
static unsigned rdb_version(const struct target_info *info)
{
    enum server_kind kind;
    unsigned rdb, claimed;
    if (!server_kind_parse(info->kind, strlen(info->kind), &kind) || !rdb_of(kind, info->version, &rdb))
        return 0;
    if (kind == SERVER_DRAGONFLY && rdb_of(SERVER_REDIS, info->compat, &claimed) && claimed < rdb)
        rdb = claimed;
    return rdb;
}

static void parse_info(struct target_info *info, const char *text)
{
    char value[64];
    info_field(text, "redis_version", info->compat, sizeof info->compat);
    info->who = (struct identity){0};
    identity_learn(&info->who, text);
    info_field(text, "redis_mode", value, sizeof value);
    if (value[0] == '\0')
        info_field(text, "server_mode", value, sizeof value); /* Valkey since 8.0 */
    info->cluster = strcmp(value, "cluster") == 0;
    strlcpy(info->kind, "redis", sizeof info->kind);
    strlcpy(info->version, info->compat, sizeof info->version);
    info_field(text, "valkey_version", value, sizeof value);
    if (value[0] != '\0') {
        strlcpy(info->kind, "valkey", sizeof info->kind);
        strlcpy(info->version, value, sizeof info->version);
    }
    info_field(text, "dragonfly_version", value, sizeof value);
    if (value[0] != '\0') {
        strlcpy(info->kind, "dragonfly", sizeof info->kind);
        strlcpy(info->version, value + strcspn(value, "0123456789"), sizeof info->version);
    }
    info->rdb = rdb_version(info);
}

static void parse_replication(struct target_info *info, const char *text)
{
    info_field(text, "role", info->role, sizeof info->role);
    identity_learn(&info->who, text);
}

redisReply *target_inspect(struct node *n, struct target_info *info, bool *lost)
{
    redisReply *r = target_call(n, CALL_MS, "INFO", "server", NULL);
    *lost = r == NULL;
    if (r == NULL || r->type != REDIS_REPLY_STRING)
        return r;
    parse_info(info, r->str);
    freeReplyObject(r);
    r = target_call(n, CALL_MS, "INFO", "replication", NULL);
    *lost = r == NULL;
    if (r == NULL || r->type != REDIS_REPLY_STRING)
        return r;
    parse_replication(info, r->str);
    freeReplyObject(r);
    return NULL;
}

/* MODULE LIST: an array of arrays of name/value pairs. */
static void module_names(struct target_info *info, const redisReply *list)
{
    info->modules[0] = '\0';
    if (list->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *m = list->element[i];
        for (size_t k = 0; m->type == REDIS_REPLY_ARRAY && k + 1 < m->elements; k += 2) {
            const redisReply *name = m->element[k], *value = m->element[k + 1];
            if (name->str == NULL || value->str == NULL || strcmp(name->str, "name") != 0)
                continue;
            if (info->modules[0] != '\0')
                strlcat(info->modules, ",", sizeof info->modules);
            strlcat(info->modules, value->str, sizeof info->modules);
        }
    }
}

bool target_limits(struct node *n, struct target_info *info)
{
    redisReply *r = target_call(n, CALL_MS, "MODULE", "LIST", NULL);
    if (r == NULL || (r->type != REDIS_REPLY_ARRAY && r->type != REDIS_REPLY_ERROR)) {
        freeReplyObject(r);
        return false;
    }
    module_names(info, r);
    freeReplyObject(r);
    r = target_call(n, CALL_MS, "CONFIG", "GET", "proto-max-bulk-len", NULL);
    if (r == NULL)
        return false;
    info->maxbulk = BULK_DEFAULT;
    if (r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->str != NULL) {
        uint64_t v = strtoull(r->element[1]->str, NULL, 10);
        if (v >= ((uint64_t)1 << 20))
            info->maxbulk = v;
    }
    freeReplyObject(r);
    return true;
}

void target_announce(const struct target_info *info, const char *existing, char *out, size_t cap)
{
    struct buf b = {.max = 2048};
    meta_add(&b, "kind", info->kind, strlen(info->kind), ' ');
    meta_add(&b, "version", info->version, strlen(info->version), ' ');
    (void)buf_addf(&b, "rdb=%u cluster=%d maxbulk=%llu existing=%s ", info->rdb, info->cluster,
                   (unsigned long long)info->maxbulk, existing);
    meta_add(&b, "modules", info->modules, strlen(info->modules), '\0');
    strlcpy(out, (const char *)b.p, cap);
    buf_free(&b);
}

const char *target_unfit(const struct target_info *info, const char *existing, const uint8_t *text, size_t n)
{
    static char why[300];
    char kind[32], version[32];
    uint64_t cluster = 0;
    (void)meta_getu(text, n, "cluster", &cluster);
    if (meta_get(text, n, "kind", kind, sizeof kind) <= 0)
        return "note=\"TARGET record without kind\"";
    if (meta_get(text, n, "version", version, sizeof version) < 0)
        version[0] = '\0';
    if (strspn(kind, WORD) != strlen(kind) || strspn(version, WORD) != strlen(version))
        return "note=\"TARGET record whose kind or version is no word\"";
    bool portable = strcmp(kind, "portable") == 0;
    const char *have = portable ? info->compat : info->version;
    if ((!portable && strcmp(kind, info->kind) != 0) || version_less(have, version) ||
        (cluster != 0) != info->cluster) {
        snprintf(why, sizeof why, "stream=%s-%s%s target=%s-%s%s", kind, version,
                 cluster != 0 ? "-cluster" : "", info->kind, info->version, info->cluster ? "-cluster" : "");
        return why;
    }
    if (meta_get(text, n, "existing", kind, sizeof kind) < 0)
        memcpy(kind, "overwrite", sizeof "overwrite");
    if (strcmp(kind, existing) != 0) {
        snprintf(
            why, sizeof why,
            "note=\"the stream was written by dfparse --on-existing %s, which does not suit rediswriter's "
            "--on-existing (%s)\"",
            kind, existing);
        return why;
    }
    return NULL;
}

/* ---- its state ---- */

/* Does the selected database hold a key that is no position key? 1 yes, 0 no, -1 failed. */
static int db_has_keys(struct writer *w, struct node *n)
{
    char cursor[32] = "0";
    struct scan_guard guard = {.n = 0};
    int found = 0;
    do {
        const char *arg[] = {"SCAN", cursor, "COUNT", "1000"};
        redisReply *r = call_patiently(w, n, CALL_MS, arg, 4);
        if (r == NULL)
            return -1;
        if (r->type == REDIS_REPLY_ERROR) {
            refused(w, n, "SCAN", r);
            return -1;
        }
        bool circles = reply_is_scan(r) && scan_circles(&guard, r->element[0]->str);
        if (!reply_is_scan(r) || circles) {
            target_lose(n, "SCAN", circles ? "its cursor goes in circles" : "unexpected reply");
            freeReplyObject(r);
            return -1;
        }
        const redisReply *keys = r->element[1];
        strlcpy(cursor, r->element[0]->str, sizeof cursor);
        for (size_t i = 0; i < keys->elements && found == 0; i++)
            found = !key_is_ours(keys->element[i]->str, keys->element[i]->len);
        freeReplyObject(r);
    } while (found == 0 && strcmp(cursor, "0") != 0);
    return found;
}

static bool select_db(struct writer *w, struct node *n, uint32_t db)
{
    char num[16];
    snprintf(num, sizeof num, "%u", db);
    return target_must(w, n, CALL_MS, "SELECT", num, NULL);
}

int target_has_keys(struct writer *w, struct node *n)
{
    const char *arg[] = {"INFO", "keyspace"};
    redisReply *r = call_patiently(w, n, CALL_MS, arg, 2);
    if (r == NULL)
        return -1;
    if (r->type == REDIS_REPLY_ERROR) {
        refused(w, n, "INFO", r);
        return -1;
    }
    if (r->type != REDIS_REPLY_STRING) {
        target_lose(n, "INFO", "unexpected reply");
        freeReplyObject(r);
        return -1;
    }
    int found = 0;
    for (const char *p = strstr(r->str, "\ndb"); p != NULL && found == 0; p = strstr(p + 1, "\ndb")) {
        uint32_t db = (uint32_t)strtoul(p + 3, NULL, 10);
        found = select_db(w, n, db) ? db_has_keys(w, n) : -1;
    }
    freeReplyObject(r);
    if (found >= 0 && !select_db(w, n, n->db))
        found = -1;
    return found;
}
