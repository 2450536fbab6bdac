/* Comparison of two sources, each a file or a running server, walked side by side. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

enum { SHOWN = 150, CONTEXT = 50 };

typedef struct side {
    live *live;
    file_source *file;
    record r;
    bool has;
    size_t keys;
} side;

typedef struct comparison {
    const diff_options *o;
    side a, b;
    size_t differ, no_counterpart;
} comparison;

static void advance(side *s)
{
    s->has = s->live ? live_next(s->live, &s->r) : file_next(s->file, &s->r);
    if (s->has)
        s->keys++;
}

static void side_open(side *s, const char *what, const diff_options *o)
{
    *s = (side){0};
    if (is_url(what)) {
        target t;

        target_from_url(&t, what);
        s->live = live_open(&t, (live_options){.no_ttl = o->no_ttl, .one_a_key = true});
        target_free(&t);
    } else {
        s->file = file_open(what);
    }
    advance(s);
}

static void side_close(side *s)
{
    if (s->live)
        live_close(s->live);
    else
        file_close(s->file);
}

/* Types that only modules of Redis know. */
static bool module_type(const char *type)
{
    static const char *const names[] = {"ReJSON-RL", "json", "CMSk-TYPE", "TopK-TYPE", "TDIS-TYPE"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(type, names[i]) == 0)
            return true;
    return strncmp(type, "MBbloom", 7) == 0; /* MBbloom--, MBbloomCF */
}

/* The key is escaped, so that every difference is one line of ASCII. */
static void put_key(const record *r)
{
    buf b = {0};

    buf_json_body(&b, r->key);
    printf("%d ", r->db);
    if (b.len)
        fwrite(b.p, 1, b.len, stdout);
    buf_free(&b);
}

/* Counts a difference; true if it is to be listed, its key then being printed already. */
static bool differs(comparison *c, const record *r)
{
    if (++c->differ > c->o->list)
        return false;
    put_key(r);
    return true;
}

static json_t *parse(const record *r)
{
    json_error_t err;
    json_t *j = json_loadb(r->line.p, r->line.n, JSON_ALLOW_NUL, &err);

    if (!j)
        die("a record cannot be parsed: %s", err.text);
    return j;
}

/* entries-read may be unknown on either side, and then says nothing. */
static void forget_unknown_reads(json_t *x, json_t *y)
{
    json_t *gs = json_object_get(x, "groups"), *hs = json_object_get(y, "groups");

    for (size_t i = 0; i < json_array_size(gs) && i < json_array_size(hs); i++) {
        json_t *g = json_array_get(gs, i), *h = json_array_get(hs, i);
        json_t *gr = json_object_get(g, "read"), *hr = json_object_get(h, "read");

        if (gr && hr && !json_is_null(gr) && !json_is_null(hr))
            continue;
        json_object_set_new(g, "read", json_null());
        json_object_set_new(h, "read", json_null());
    }
}

static char *value_text(const json_t *v)
{
    char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_SORT_KEYS);

    if (!s)
        die("a value cannot be written");
    return s;
}

/* Shows both values from shortly before the place where they part: in a container of thousands of
 * elements their beginnings would tell nothing. */
static void put_values(const json_t *x, const json_t *y)
{
    char *s = value_text(x), *t = value_text(y);
    size_t at = 0;

    while (s[at] && s[at] == t[at])
        at++;
    at = at > SHOWN - CONTEXT ? at - CONTEXT : 0;
    if (at)
        printf(": value from character %zu %.*s / %.*s\n", at, SHOWN, s + at, SHOWN, t + at);
    else
        printf(": value %.*s / %.*s\n", SHOWN, s, SHOWN, t);
    free(s);
    free(t);
}

/* As in dumpstate.py, where a record without ttl counts as one with 0. */
static bool ttl_differs(const json_t *x, const json_t *y, long long slack)
{
    long long a = json_integer_value(x), b = json_integer_value(y);

    if (x && y && (a < 0) != (b < 0))
        return true;
    return (a > b ? a - b : b - a) > slack;
}

static void put_ttl(const json_t *x)
{
    if (x)
        printf("%lld", (long long)json_integer_value(x));
    else
        printf("none");
}

/* Two records of one key and type whose lines are not the same text. */
static void compare_parsed(comparison *c)
{
    json_t *x = parse(&c->a.r), *y = parse(&c->b.r);
    json_t *xv = json_object_get(x, "value"), *yv = json_object_get(y, "value");
    json_t *xt = json_object_get(x, "ttl"), *yt = json_object_get(y, "ttl");

    if (strcmp(c->a.r.type, "stream") == 0)
        forget_unknown_reads(xv, yv);
    if (!json_equal(xv, yv)) {
        if (differs(c, &c->a.r))
            put_values(xv, yv);
    } else if (!c->o->no_ttl && ttl_differs(xt, yt, c->o->ttl_slack)) {
        if (differs(c, &c->a.r)) {
            printf(": ttl ");
            put_ttl(xt);
            printf(" / ");
            put_ttl(yt);
            printf("\n");
        }
    }
    json_decref(x);
    json_decref(y);
}

static void compare_both(comparison *c)
{
    const record *a = &c->a.r, *b = &c->b.r;

    if (c->o->redis_target && module_type(a->type)) {
        if (differs(c, a))
            printf(": %s in A, present in B as %s\n", a->type, b->type);
    } else if (strcmp(a->type, b->type) != 0) {
        if (differs(c, a))
            printf(": type %s / %s\n", a->type, b->type);
    } else if (bytes_cmp(a->line, b->line) != 0) {
        compare_parsed(c);
    }
}

static void only_in_a(comparison *c)
{
    const record *a = &c->a.r;

    if (c->o->redis_target && module_type(a->type)) {
        c->no_counterpart++;
        printf("expected-missing ");
        put_key(a);
        printf(" %s\n", a->type);
    } else if (differs(c, a)) {
        printf(": missing in B\n");
    }
}

static int order(const comparison *c)
{
    const record *a = &c->a.r, *b = &c->b.r;

    if (!c->a.has || !c->b.has)
        return c->a.has ? -1 : 1;
    if (a->db != b->db)
        return a->db < b->db ? -1 : 1;
    return bytes_cmp(a->key, b->key);
}

static void walk(comparison *c)
{
    while (c->a.has || c->b.has) {
        int at = order(c);

        if (at == 0)
            compare_both(c);
        else if (at < 0)
            only_in_a(c);
        else if (differs(c, &c->b.r))
            printf(": missing in A\n");
        if (at <= 0)
            advance(&c->a);
        if (at >= 0)
            advance(&c->b);
    }
}

int diff_run(const char *a, const char *b, const diff_options *o)
{
    comparison c = {.o = o};

    side_open(&c.a, a, o);
    side_open(&c.b, b, o);
    walk(&c);
    if (o->redis_target)
        printf("%zu keys have no counterpart\n", c.no_counterpart);
    printf("%zu keys in A, %zu in B, %zu differ\n", c.a.keys, c.b.keys, c.differ);
    side_close(&c.a);
    side_close(&c.b);
    return c.differ ? EXIT_DIFFERENT : EXIT_EQUAL;
}
