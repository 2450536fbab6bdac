/* At least once: what may have counted twice has been named. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

/* ---- what the writers' logs name ---- */

struct names {
    void *tree; /* of tsearch */
};

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_name(struct names *n, const char *line, const char *field)
{
    const char *at = strstr(line, field), *end = at ? strchr(at + strlen(field), '"') : NULL;
    if (!end)
        return;
    char *name = strndup(at + strlen(field), (size_t)(end - at) - strlen(field));
    char **kept = tsearch(name, &n->tree, by_text);
    if (!kept)
        fail("out of memory");
    if (*kept != name)
        free(name);
}

static void read_log(struct names *n, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    FILE *f = fopen(path, "r");
    while (f && getline(&line, &room, f) > 0) {
        if (strstr(line, "event=data_error"))
            fail("%s: %s", path, line);
        if (!strstr(line, "event=may_count_twice"))
            continue;
        add_name(n, line, " key=\"");
        add_name(n, line, " also=\"");
    }
    if (f)
        fclose(f);
    free(line);
}

/* ---- nothing is missing ---- */

/* Of a cluster the node that has the key answers. */
static redisReply *ask_target(const char *command, const char *key)
{
    redisReply *r = NULL;
    for (unsigned i = 0; i < now.targets; i++) {
        freeReplyObject(r);
        r = server_call(&now.target[i], command, key);
        if (r && r->type != REDIS_REPLY_ERROR)
            return r;
    }
    fail("%s: the target does not answer (%s)", key, r && r->str ? r->str : "gone");
}

static double number_of(const redisReply *r)
{
    return r->type == REDIS_REPLY_INTEGER ? (double)r->integer : r->str ? strtod(r->str, NULL) : 0;
}

/* Members and numbers by turns, or one number. */
static bool has_less(const redisReply *source, const redisReply *target)
{
    if (source->type != REDIS_REPLY_ARRAY)
        return number_of(target) < number_of(source);
    for (size_t i = 0; i + 1 < source->elements; i += 2) {
        size_t k = 0;
        while (k + 1 < target->elements && strcmp(target->element[k]->str, source->element[i]->str) != 0)
            k += 2;
        if (k + 1 >= target->elements ||
            number_of(target->element[k + 1]) < number_of(source->element[i + 1]))
            return true;
    }
    return false;
}

static void check_less(const char *key)
{
    static const struct {
        const char *kind, *command;
    } table[] = {
        {"str:", "STRLEN %s"},    {"list:", "LLEN %s"}, {"count:", "GET %s"},
        {"tally:", "HGETALL %s"}, {"hash:", "HLEN %s"}, {"zset:", "ZRANGE %s 0 -1 WITHSCORES"},
        {"stream:", "XLEN %s"},   {"set:", "SCARD %s"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strncmp(key, table[i].kind, strlen(table[i].kind)) != 0)
            continue;
        redisReply *a = server_call(&now.source.oracle, table[i].command, key);
        redisReply *b = ask_target(table[i].command, key);
        if (!a || has_less(a, b))
            fail("%s: there is less than at the source (diff.log)", key);
        freeReplyObject(a);
        freeReplyObject(b);
    }
}

/* ---- both ---- */

/* "0 list:1:2: value ..." */
static void check_line(struct names *n, char *line)
{
    char *key = strchr(line, ' '), *end = key ? strstr(key, ": ") : NULL;
    if (!end || strstr(line, " differ\n"))
        return;
    *end = '\0';
    key++;
    if (!tfind(key, &n->tree, by_text))
        fail("%s differs%s, and no writer has named it (diff.log)", key, end + 1);
    now.differed++;
    check_less(key);
}

void named_check(void)
{
    struct names n = {0};
    char *line = NULL;
    size_t room = 0;
    int status = check_diff(file("diff.log"), "1000000");
    if (status > 1)
        fail("dfstate: status %d (diff.log)", status);
    for (unsigned i = 1; i <= now.pipeline.runs; i++)
        read_log(&n, file("run-%u-%u.writer", now.series, i));
    FILE *f = fopen(file("diff.log"), "r");
    while (f && getline(&line, &room, f) > 0)
        check_line(&n, line);
    if (f)
        fclose(f);
    free(line);
    tdestroy(n.tree, free);
}
