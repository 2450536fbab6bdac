#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "../conn/conn.h"
#include "log.h"
#include "meta.h"
#include "server.h"
#include "nodes.h"

#define WORD         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_+"
#define BULK_DEFAULT ((uint64_t)512 << 20)

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

void target_learn(struct target_info *info, const char *text)
{
    char role[16];
    info_field(text, "role", role, sizeof role);
    if (strstr(text, "redis_version:") != NULL)
        parse_info(info, text);
    else
        identity_learn(&info->who, text);
    if (role[0] != '\0')
        memcpy(info->role, role, sizeof info->role);
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

static void on_modules(struct hello *h, const redisReply *r)
{
    if (r != NULL && line_expects(h->line, r, REPLY_BIT(REDIS_REPLY_ARRAY), "MODULE LIST"))
        module_names(&h->all->target->info, r);
}

static void on_maxbulk(struct hello *h, const redisReply *r)
{
    if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[1]->str == NULL)
        return;
    uint64_t v = strtoull(r->element[1]->str, NULL, 10);
    if (v >= ((uint64_t)1 << 20))
        h->all->target->info.maxbulk = v;
}

void target_limits(struct hello *h)
{
    h->all->target->info.maxbulk = BULK_DEFAULT;
    line_ask(h->line, on_modules, "MODULE", "LIST", NULL);
    line_ask(h->line, on_maxbulk, "CONFIG", "GET", "proto-max-bulk-len", NULL);
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
