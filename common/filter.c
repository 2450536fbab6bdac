#include "filter.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <bsd/stdlib.h>

#include "ours.h"
#include "record.h"

/* One character class at *p (behind the '['), up to and including its ']'. */
static bool class_match(const uint8_t **pp, const uint8_t *end, uint8_t c)
{
    const uint8_t *p = *pp;
    bool negated = p < end && *p == '^';
    bool found = false;
    if (negated)
        p++;
    while (p < end && *p != ']') {
        if (*p == '\\' && end - p >= 2)
            p++;
        if (end - p >= 3 && p[1] == '-') {
            uint8_t lo = p[0] < p[2] ? p[0] : p[2], hi = p[0] < p[2] ? p[2] : p[0];
            found |= c >= lo && c <= hi;
            p += 3;
        } else {
            found |= *p++ == c;
        }
    }
    *pp = p < end ? p + 1 : end;
    return found != negated;
}

/* One pattern item other than '*' against c; *p moves behind it. */
static bool item_match(const uint8_t **p, const uint8_t *end, uint8_t c)
{
    uint8_t x = *(*p)++;
    if (x == '?')
        return true;
    if (x == '[')
        return class_match(p, end, c);
    if (x == '\\' && *p < end)
        x = *(*p)++;
    return x == c;
}

bool glob_match(const uint8_t *p, size_t pn, const uint8_t *s, size_t sn)
{
    const uint8_t *pend = p + pn, *send = s + sn;
    const uint8_t *star = NULL, *retry = NULL; /* behind the last '*', and where it stopped matching */
    while (s < send) {
        const uint8_t *q = p;
        if (p < pend && *p == '*') {
            star = ++p;
            retry = s;
        } else if (p < pend && item_match(&q, pend, *s)) {
            p = q;
            s++;
        } else if (star != NULL) { /* let the last '*' take one more */
            p = star;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (p < pend && *p == '*')
        p++;
    return p == pend;
}

/* ---- options ---- */

static const char *set_type(struct rule *r, const char *name)
{
    for (unsigned i = CLASS_STRING; i < CLASS_COUNT; i++)
        if (strcmp(rec_class_name(i), name) == 0) {
            r->number = i;
            return NULL;
        }
    return "unknown type (string, list, set, zset, hash, stream, json, other)";
}

static const char *number(const char *text, uint32_t *out)
{
    const char *fault;
    *out = (uint32_t)strtonum(text, 0, 1 << 20, &fault);
    return fault != NULL ? "a database is a number" : NULL;
}

const char *filter_add_rule(struct filter *s, const char *text, bool exclude)
{
    static const char *const kinds[] = {"glob:", "prefix:", "regex:", "type:", "db:"};
    if (s->nrules == FILTER_RULES)
        return "too many rules";
    struct rule *r = &s->rule[s->nrules];
    *r = (struct rule){.kind = RULE_GLOB, .exclude = exclude};
    for (unsigned i = 0; i < 5; i++)
        if (strncmp(text, kinds[i], strlen(kinds[i])) == 0) {
            r->kind = (enum rule_kind)i;
            text += strlen(kinds[i]);
            break;
        }
    const char *fault = NULL;
    if (r->kind == RULE_TYPE)
        fault = set_type(r, text);
    else if (r->kind == RULE_DB)
        fault = number(text, &r->number);
    else if (r->kind == RULE_REGEX && regcomp(&r->regex, text, REG_EXTENDED | REG_NOSUB) != 0)
        fault = "no valid regular expression";
    if (fault != NULL)
        return fault;
    r->text = xstrdup(text);
    r->n = strlen(text);
    s->nrules++;
    s->active = s->keys = true;
    s->types |= r->kind == RULE_TYPE;
    return NULL;
}

const char *filter_add_rename(struct filter *s, const char *text)
{
    const char *eq = strchr(text, '=');
    if (eq == NULL)
        return "OLD=NEW is needed";
    char *from = xstrdup(text);
    from[eq - text] = '\0';
    bool added = renames_add(&s->renames, from, eq + 1);
    free(from);
    s->active = true;
    return added ? NULL : "too many renamings";
}

const char *filter_add_dbs(struct filter *s, const char *text)
{
    char *copy = xstrdup(text), *rest = copy, *part;
    const char *fault = NULL;
    while (fault == NULL && (part = strsep(&rest, ",")) != NULL) {
        char *eq = strchr(part, '=');
        if (eq == NULL || s->ndbs == FILTER_DBS) {
            fault = "FROM=TO[,FROM=TO…] is needed, at most 64 of them";
            break;
        }
        *eq = '\0';
        if (strcmp(part, "*") == 0) {
            s->all_dbs = true;
            fault = number(eq + 1, &s->rest_db);
            continue;
        }
        fault = number(part, &s->db[s->ndbs].from);
        if (fault == NULL)
            fault = number(eq + 1, &s->db[s->ndbs].to);
        s->ndbs++;
    }
    free(copy);
    s->active = true;
    return fault;
}

/* ---- use ---- */

/* In a copy with a NUL behind it: with REG_STARTEND glibc reads none, but the sanitizers' own regexec does.
 */
static bool regex_matches(const regex_t *regex, const uint8_t *key, size_t n)
{
    char small[512];
    char *text = n < sizeof small ? small : xcalloc(1, n + 1);
    regmatch_t m = {0, (regoff_t)n};
    memcpy(text, key, n);
    text[n] = '\0';
    bool found = regexec(regex, text, 1, &m, REG_STARTEND) == 0;
    if (text != small)
        free(text);
    return found;
}

static bool rule_matches(const struct rule *r, const uint8_t *key, size_t n, unsigned vclass, uint32_t db)
{
    switch (r->kind) {
    case RULE_GLOB: return glob_match((const uint8_t *)r->text, r->n, key, n);
    case RULE_PREFIX: return n >= r->n && memcmp(key, r->text, r->n) == 0;
    case RULE_REGEX: return regex_matches(&r->regex, key, n);
    case RULE_TYPE: return vclass == r->number;
    case RULE_DB: return db == r->number;
    }
    return false;
}

/* Of each sort (names, types, databases) for which something is included, one rule has to match. */
static bool rules_pass(const struct filter *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db)
{
    bool wanted[3] = {false, false, false}, found[3] = {false, false, false};
    for (unsigned i = 0; i < s->nrules; i++) {
        const struct rule *r = &s->rule[i];
        unsigned sort = r->kind == RULE_TYPE ? 1 : r->kind == RULE_DB ? 2 : 0;
        if (r->kind == RULE_TYPE && vclass == 0)
            continue; /* a command that fits every type */
        bool match = rule_matches(r, key, n, vclass, db);
        if (r->exclude && match)
            return false;
        if (!r->exclude) {
            wanted[sort] = true;
            found[sort] |= match;
        }
    }
    return (!wanted[0] || found[0]) && (!wanted[1] || found[1]) && (!wanted[2] || found[2]);
}

static const char *renamed(const struct filter *s, const uint8_t *key, size_t n, size_t *from)
{
    unsigned i = renames_rule(&s->renames, key, n);
    *from = i < s->renames.n ? s->renames.rule[i].nfrom : 0;
    return i < s->renames.n ? s->renames.rule[i].to : "";
}

/* Would its new name be one of ours? */
static bool becomes_ours(const struct filter *s, const uint8_t *key, size_t n)
{
    char name[sizeof OUR_KEYS];
    size_t from = 0, have = 0, want = sizeof OUR_KEYS - 1;
    for (const char *to = renamed(s, key, n, &from); *to != '\0' && have < want; to++)
        name[have++] = *to;
    for (; from < n && have < want; from++)
        name[have++] = (char)key[from];
    return key_is_ours(name, have);
}

bool filter_passes(const struct filter *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db)
{
    return rules_pass(s, key, n, vclass, db) && !becomes_ours(s, key, n);
}

bool filter_reserved(const struct filter *s, const uint8_t *key, size_t n, unsigned vclass, uint32_t db)
{
    return becomes_ours(s, key, n) && rules_pass(s, key, n, vclass, db);
}

bool filter_db_passes(const struct filter *s, uint32_t db)
{
    bool wanted = false, found = false;
    for (unsigned i = 0; i < s->nrules; i++) {
        if (s->rule[i].kind != RULE_DB)
            continue;
        bool match = s->rule[i].number == db;
        if (s->rule[i].exclude && match)
            return false;
        wanted |= !s->rule[i].exclude;
        found |= !s->rule[i].exclude && match;
    }
    return !wanted || found;
}

uint32_t filter_db(const struct filter *s, uint32_t db)
{
    for (unsigned i = 0; i < s->ndbs; i++)
        if (s->db[i].from == db)
            return s->db[i].to;
    return s->all_dbs ? s->rest_db : db;
}

bool filter_db_back(const struct filter *s, uint32_t db, uint32_t *from)
{
    for (*from = 0; *from <= FILTER_DBS; ++*from)
        if (filter_db(s, *from) == db)
            return true;
    *from = db;
    for (unsigned i = 0; i < s->ndbs && filter_db(s, *from) != db; i++)
        *from = s->db[i].from;
    return filter_db(s, *from) == db;
}

bool filter_db_shared(const struct filter *s, uint32_t db)
{
    uint32_t to = filter_db(s, db);
    for (unsigned i = 0; i < s->ndbs; i++)
        if (s->db[i].from != db && s->db[i].to == to)
            return true;
    return s->all_dbs && to == s->rest_db;
}

/* Rules that look at more than the database. */
static bool by_name(const struct filter *s)
{
    for (unsigned i = 0; i < s->nrules; i++)
        if (s->rule[i].kind != RULE_DB)
            return true;
    return false;
}

bool filter_by_name(const struct filter *s)
{
    return by_name(s) || s->renames.n > 0;
}

const char *filter_dbs_fit(const struct filter *s, const char *databases, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (const char *p = databases; *p != '\0';) {
        char *end;
        uint32_t db = (uint32_t)strtoul(p, &end, 10);
        if (end == p)
            break;
        p = *end == ',' ? end + 1 : end;
        bool fits = s != NULL ? filter_db(s, db) == 0 || !filter_db_passes(s, db) || by_name(s) : db == 0;
        if (!fits && n < cap)
            n += (size_t)snprintf(out + n, cap - n, "%s%u", n > 0 ? ", " : "", db);
    }
    return out[0] != '\0' ? out : NULL;
}

size_t filter_growth(const struct filter *s)
{
    size_t most = 0;
    for (unsigned i = 0; i < s->renames.n; i++)
        if (s->renames.rule[i].nto > most)
            most = s->renames.rule[i].nto;
    return most;
}

struct slice filter_name(const struct filter *s, const uint8_t *key, size_t n, struct buf *b)
{
    size_t from, at = b->len;
    const char *to = renamed(s, key, n, &from);
    if (from == 0 && *to == '\0')
        return (struct slice){key, n};
    if (buf_add(b, to, strlen(to)) < 0 || buf_add(b, key + from, n - from) < 0)
        return (struct slice){key, n}; /* the caller made room */
    return (struct slice){b->p + at, b->len - at};
}

/* Of several names the one of the first rule counts, and one that no rule applies to is the last. */
static unsigned origin(const struct filter *s, const uint8_t *key, size_t n, uint32_t db, struct buf *out)
{
    unsigned i = 0;
    while (i <= s->renames.n &&
           (!renames_back(&s->renames, i, key, n, out) || !filter_passes(s, out->p, out->len, 0, db)))
        i++;
    return i;
}

bool filter_name_back(const struct filter *s, const uint8_t *key, size_t n, uint32_t db, struct buf *out)
{
    return origin(s, key, n, db, out) <= s->renames.n;
}

bool filter_name_taken(const struct filter *s, const uint8_t *key, size_t n, uint32_t db,
                       struct buf scratch[2])
{
    unsigned rule = renames_rule(&s->renames, key, n);
    if (rule == 0)
        return false;
    scratch[0].len = 0;
    struct slice name = filter_name(s, key, n, &scratch[0]);
    return origin(s, name.p, name.n, db, &scratch[1]) < rule;
}
