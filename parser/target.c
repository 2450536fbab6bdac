#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "meta.h"
#include "record.h"

static const char *const policies[] = {"overwrite", "skip", "fail"};

void target_portable(struct target *t)
{
    *t =
        (struct target){.kind = SERVER_PORTABLE, .version = PORTABLE_VERSION, .maxbulk = (uint64_t)512 << 20};
}

static bool parse_target(struct target *t, const char *text)
{
    target_portable(t);
    if (strcmp(text, "portable") == 0)
        return true;
    t->kind = SERVER_REDIS;
    const char *colon = strpbrk(text, ":-");
    if (colon != NULL && !server_kind_parse(text, (size_t)(colon - text), &t->kind))
        return false;
    if (!server_version_parse(colon != NULL ? colon + 1 : text, &t->version))
        return false;
    t->rdb = server_rdb(t->kind, t->version);
    t->has_json = t->kind == SERVER_DRAGONFLY;
    return t->rdb > 0;
}

bool target_parse(struct target *t, const char *text)
{
    static const char suffix[] = "/cluster";
    char alone[64];
    size_t n = strlen(text), k = sizeof suffix - 1;
    bool cluster = n > k && n - k < sizeof alone && strcmp(text + n - k, suffix) == 0;
    if (!cluster)
        return parse_target(t, text);
    memcpy(alone, text, n - k);
    alone[n - k] = '\0';
    bool known = parse_target(t, alone);
    t->cluster = true;
    return known;
}

static bool lists(const char *modules, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = modules; (p = strstr(p, name)) != NULL; p += n)
        if ((p == modules || p[-1] == ',') && (p[n] == '\0' || p[n] == ','))
            return true;
    return false;
}

bool target_existing(struct target *t, const char *text)
{
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(policies[i], text) == 0) {
            t->existing = (enum existing)i;
            return true;
        }
    return false;
}

void target_modules(struct target *t, const char *names)
{
    strlcpy(t->modules, names, sizeof t->modules);
    t->has_json |= lists(names, "ReJSON") || lists(names, "json");
}

bool target_read(struct target *t, const void *text, size_t n)
{
    char word[1024];
    uint64_t v;
    target_portable(t);
    if (meta_get(text, n, "kind", word, sizeof word) < 0)
        return false;
    if (strcmp(word, server_kind_name(SERVER_PORTABLE)) != 0) {
        if (!server_kind_parse(word, strlen(word), &t->kind) ||
            meta_get(text, n, "version", word, sizeof word) < 0 || !server_version_parse(word, &t->version))
            return false;
        t->rdb = meta_getu(text, n, "rdb", &v) ? (unsigned)v : server_rdb(t->kind, t->version);
    }
    t->cluster = meta_getu(text, n, "cluster", &v) && v != 0;
    if (meta_get(text, n, "existing", word, sizeof word) > 0 && !target_existing(t, word))
        return false;
    if (meta_getu(text, n, "maxbulk", &v) && v > 0)
        t->maxbulk = v;
    if (meta_get(text, n, "modules", word, sizeof word) > 0)
        target_modules(t, word);
    if (t->kind == SERVER_DRAGONFLY)
        t->has_json = true;
    return true;
}

void target_meta(const struct target *t, struct buf *b)
{
    char version[32];
    snprintf(version, sizeof version, "%u.%u.%u", t->version >> 16, t->version >> 8 & 255, t->version & 255);
    meta_adds(b, "kind", server_kind_name(t->kind));
    meta_adds(b, "version", version);
    meta_addu(b, "cluster", t->cluster);
    meta_adds(b, "existing", policies[t->existing]);
}

/* Types that Redis and Valkey number alike. */
static unsigned common_version(const struct target *t, unsigned type)
{
    static const unsigned char needs[22] = {6, 6, 6, 6, 6, 8,  0,  8,  0,  6,  6,
                                            6, 6, 6, 7, 9, 10, 10, 10, 10, 11, 11};
    if (type >= sizeof needs || needs[type] == 0 || needs[type] > t->rdb)
        return 0;
    if (t->kind == SERVER_DRAGONFLY) {
        if (type == 1 || type == 9 || type == 10)
            return 0;
        return type == 20 ? 11 : 9;
    }
    return needs[type];
}

unsigned target_restore_version(const struct target *t, unsigned type)
{
    static const unsigned char redis_needs[4] = {12, 12, 13, 14}; /* 24 to 27 */
    if (t->rdb == 0)
        return 0;
    if (type < 22)
        return common_version(t, type);
    if (t->kind == SERVER_DRAGONFLY) /* its own; JSON has a command, which any version takes */
        return type >= 31 && type <= 37 && t->version >= VERSION(1, 40) ? 9 : 0;
    if (t->kind == SERVER_VALKEY && type == T_VALKEY + 22)
        return t->rdb >= 80 ? 80 : 0;
    if (t->kind != SERVER_REDIS || type < T_REDIS + 24 || type > T_REDIS + 27)
        return 0;
    unsigned ver = redis_needs[type - T_REDIS - 24];
    return ver <= t->rdb ? ver : 0;
}

unsigned target_restore_as(const struct target *t, unsigned type, unsigned *as)
{
    static const unsigned older[] = {21, 19};
    unsigned ver = target_restore_version(t, type);
    *as = type;
    for (size_t i = 0; i < 2 && ver == 0 && (type == 21 || type == T_REDIS + 26); i++)
        if ((ver = target_restore_version(t, older[i])) != 0)
            *as = older[i];
    return ver;
}

/* Module types that have other names than their modules. Valkey's bloom filters are another type in a module
 * of the same name as Redis'. */
static const struct {
    const char *type, *module;
    bool only_redis;
} module_types[] = {{"ReJSON", "ReJSON", false},    {"MBbloom", "bf", true},   {"CMSk", "bf", true},
                    {"TopK", "bf", true},           {"TDIS", "bf", true},      {"TSDB", "timeseries", false},
                    {"bloomfltr", "bf", false},     {"graph", "graph", false}, {"AI_", "ai", false},
                    {"tairhash", "tairhash", false}};

/* All types of the module whose name is the n bytes at p are known. */
static bool module_known(const char *p, size_t n)
{
    static const char others[] = "search,searchlight,json,vectorset,lua";
    char name[64];
    if (n >= sizeof name)
        return false;
    memcpy(name, p, n);
    name[n] = '\0';
    for (size_t i = 0; i < sizeof module_types / sizeof module_types[0]; i++)
        if (strcmp(name, module_types[i].module) == 0)
            return true;
    return lists(others, name);
}

/* The types of some module of the target are not known, and a RESTORE of a type that no module has is only an
 * error there: before 6.2 it ended the server. */
static bool may_have_type(const struct target *t)
{
    if (t->kind != SERVER_VALKEY && (t->kind != SERVER_REDIS || t->version < VERSION(6, 2)))
        return false;
    for (const char *p = t->modules, *end; *p != '\0'; p = *end == ',' ? end + 1 : end) {
        end = p + strcspn(p, ",");
        if (end > p && !module_known(p, (size_t)(end - p)))
            return true;
    }
    return false;
}

bool target_names_module(const struct target *t, const char *type_name)
{
    for (size_t i = 0; i < sizeof module_types / sizeof module_types[0]; i++)
        if (strncmp(type_name, module_types[i].type, strlen(module_types[i].type)) == 0)
            return (!module_types[i].only_redis || t->kind != SERVER_VALKEY) &&
                   lists(t->modules, module_types[i].module);
    return lists(t->modules, type_name);
}

bool target_has_module(const struct target *t, const char *type_name)
{
    for (size_t i = 0; i < sizeof module_types / sizeof module_types[0]; i++)
        if (strncmp(type_name, module_types[i].type, strlen(module_types[i].type)) == 0)
            return target_names_module(t, type_name);
    return lists(t->modules, type_name) || may_have_type(t);
}

bool target_field_ttl(const struct target *t)
{
    switch (t->kind) {
    case SERVER_REDIS: return t->version >= VERSION(7, 4);
    case SERVER_VALKEY: return t->version >= VERSION(9, 0);
    case SERVER_DRAGONFLY: return true;
    default: return false;
    }
}

bool target_takes_hints(const struct target *t)
{
    return t->kind == SERVER_VALKEY || (t->kind == SERVER_REDIS && t->version >= VERSION(5, 0));
}

bool target_has_class(const struct target *t, unsigned vclass)
{
    return vclass != CLASS_STREAM || t->kind != SERVER_REDIS || t->version >= VERSION(5, 0);
}
