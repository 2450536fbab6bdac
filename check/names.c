#include "names.h"

#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>

#define DB_MOST 1000000

static const char *one_db(struct names *n, const char *p, size_t len)
{
    char text[32], *to;
    const char *fault;
    if (len == 0 || len >= sizeof text)
        return "expected A=B[,C=D]";
    memcpy(text, p, len);
    text[len] = '\0';
    to = strchr(text, '=');
    if (to == NULL)
        return "expected A=B[,C=D]";
    *to++ = '\0';
    uint32_t into = (uint32_t)strtonum(to, 0, DB_MOST, &fault);
    if (fault != NULL)
        return "no number of a database behind =";
    if (strcmp(text, "*") == 0) {
        n->others = true;
        n->others_to = into;
        return NULL;
    }
    if (n->dbs == NAMES_DBS)
        return "too many databases";
    n->db[n->dbs].from = (uint32_t)strtonum(text, 0, DB_MOST, &fault);
    n->db[n->dbs++].to = into;
    return fault != NULL ? "no number of a database before =" : NULL;
}

const char *names_add_dbs(struct names *n, const char *text)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        const char *fault = one_db(n, text, len);
        if (fault != NULL || text[len] == '\0')
            return fault;
        text += len + 1;
    }
}

const char *names_add_rule(struct names *n, const char *text)
{
    char *copy = xstrdup(text), *to = strchr(copy, '=');
    if (to == NULL || n->rules == NAMES_RULES) {
        free(copy);
        return to == NULL ? "expected A=B" : "too many of them";
    }
    *to++ = '\0';
    n->rule[n->rules++] = (struct names_rule){copy, to};
    return NULL;
}

void names_free(struct names *n)
{
    for (unsigned i = 0; i < n->rules; i++)
        free(n->rule[i].from);
    n->rules = 0;
}

uint32_t names_db(const struct names *n, uint32_t db)
{
    for (unsigned i = 0; i < n->dbs; i++)
        if (n->db[i].from == db)
            return n->db[i].to;
    return n->others ? n->others_to : db;
}

static bool begins(const void *key, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(key, prefix, n) == 0;
}

/* The key with the prefix to instead of its first cut bytes. */
static int put(struct buf *out, const void *key, size_t len, size_t cut, const char *to)
{
    return buf_add(out, to, strlen(to)) < 0 || buf_add(out, (const char *)key + cut, len - cut) < 0 ? -1 : 1;
}

static const struct names_rule *rule_for(const struct names *n, const void *key, size_t len)
{
    for (unsigned i = 0; i < n->rules; i++)
        if (begins(key, len, n->rule[i].from))
            return &n->rule[i];
    return NULL;
}

int names_to_target(const struct names *n, const void *key, size_t len, struct buf *out)
{
    const struct names_rule *r = rule_for(n, key, len);
    return r == NULL ? put(out, key, len, 0, "") : put(out, key, len, strlen(r->from), r->to);
}

int names_to_source(const struct names *n, unsigned i, const void *key, size_t len, struct buf *out)
{
    size_t begin = out->len;
    if (i > n->rules)
        return -1;
    if (i == n->rules) /* it keeps its name, unless that one is renamed */
        return rule_for(n, key, len) != NULL ? 0 : put(out, key, len, 0, "");
    const struct names_rule *r = &n->rule[i];
    if (!begins(key, len, r->to))
        return 0;
    if (put(out, key, len, strlen(r->to), r->from) < 0)
        return -1;
    if (rule_for(n, out->p + begin, out->len - begin) == r)
        return 1;
    out->len = begin;
    return 0;
}
