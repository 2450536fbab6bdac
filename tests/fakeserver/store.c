/* Strings, hashes, and counters of everything else: as much of a data set as these tests look at. */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct field {
    struct field *next;
    struct buf name, value;
};

struct key {
    struct key *next;
    unsigned db;
    struct buf name, value;
    struct field *field;
    bool hash;
};

static struct key *keys;
static unsigned selected; /* database of the commands that follow */

void store_select(unsigned db)
{
    selected = db;
}

static bool same(const struct buf *b, const struct slice *s)
{
    return b->len == s->n && (s->n == 0 || memcmp(b->p, s->p, s->n) == 0);
}

static struct key *find(const struct slice *name)
{
    for (struct key *k = keys; k != NULL; k = k->next)
        if (k->db == selected && same(&k->name, name))
            return k;
    return NULL;
}

static struct key *make(const struct slice *name)
{
    struct key *k = find(name);
    if (k != NULL)
        return k;
    k = xcalloc(1, sizeof *k);
    k->db = selected;
    (void)buf_add(&k->name, name->p, name->n);
    k->next = keys;
    keys = k;
    return k;
}

static void drop_fields(struct key *k)
{
    for (struct field *f; (f = k->field) != NULL;) {
        k->field = f->next;
        buf_free(&f->name);
        buf_free(&f->value);
        free(f);
    }
}

static void set_buf(struct buf *b, const struct slice *s)
{
    b->len = 0;
    b->max = (size_t)1 << 30;
    (void)buf_add(b, s->p, s->n);
}

static void set(const struct slice *name, const struct slice *value)
{
    struct key *k = make(name);
    drop_fields(k);
    k->hash = false;
    set_buf(&k->value, value);
}

/* name: NULL: all; any: of every database. Returns how many. */
static unsigned drop(const struct slice *name, bool any)
{
    unsigned n = 0;
    for (struct key **at = &keys; *at != NULL;) {
        struct key *k = *at;
        if ((!any && k->db != selected) || (name != NULL && !same(&k->name, name))) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        drop_fields(k);
        buf_free(&k->name);
        buf_free(&k->value);
        free(k);
        n++;
    }
    return n;
}

static bool hset(const struct slice *name, const struct slice *field, const struct slice *value)
{
    struct key *k = make(name);
    k->hash = true;
    for (struct field *f = k->field; f != NULL; f = f->next)
        if (same(&f->name, field)) {
            set_buf(&f->value, value);
            return false;
        }
    struct field *f = xcalloc(1, sizeof *f);
    set_buf(&f->name, field);
    set_buf(&f->value, value);
    f->next = k->field;
    k->field = f;
    return true;
}

static void number(struct buf *out, long long n)
{
    (void)buf_addf(out, ":%lld\r\n", n);
}

static void hgetall(const struct slice *name, struct buf *out)
{
    struct key *k = find(name);
    unsigned n = 0;
    for (struct field *f = k != NULL ? k->field : NULL; f != NULL; f = f->next)
        n++;
    (void)resp_add_array(out, 2 * n);
    for (struct field *f = n > 0 ? k->field : NULL; f != NULL; f = f->next) {
        (void)resp_add_bulk(out, f->name.p, f->name.len);
        (void)resp_add_bulk(out, f->value.p, f->value.len);
    }
}

static void hget(const struct slice *name, const struct slice *field, struct buf *out)
{
    struct key *k = find(name);
    struct field *f = k != NULL ? k->field : NULL;
    while (f != NULL && !same(&f->name, field))
        f = f->next;
    if (f == NULL)
        (void)buf_addstr(out, "$-1\r\n");
    else
        (void)resp_add_bulk(out, f->value.p, f->value.len);
}

static void incr(const struct slice *name, struct buf *out)
{
    char text[32] = "";
    struct key *k = find(name);
    if (k != NULL && k->value.len < sizeof text && k->value.len > 0)
        memcpy(text, k->value.p, k->value.len);
    long long v = strtoll(text, NULL, 10) + 1;
    int n = snprintf(text, sizeof text, "%lld", v);
    struct slice value = {(const uint8_t *)text, (size_t)n};
    set(name, &value);
    number(out, v);
}

unsigned store_size(unsigned db)
{
    unsigned n = 0;
    for (struct key *k = keys; k != NULL; k = k->next)
        n += k->db == db;
    return n;
}

void store_keys(struct buf *out)
{
    (void)resp_add_array(out, store_size(selected));
    for (struct key *k = keys; k != NULL; k = k->next)
        if (k->db == selected)
            (void)resp_add_bulk(out, k->name.p, k->name.len);
}

static void get(const struct slice *name, struct buf *out)
{
    struct key *k = find(name);
    if (k == NULL)
        (void)buf_addstr(out, "$-1\r\n");
    else
        (void)resp_add_bulk(out, k->value.p, k->value.len);
}

static bool writes(const struct slice *a, unsigned n, struct buf *out)
{
    long long count = 0;
    if (slice_is(a, "SET") && n >= 3) {
        set(&a[1], &a[2]);
        (void)buf_addstr(out, "+OK\r\n");
    } else if (slice_is(a, "MSET")) {
        for (unsigned i = 1; i + 1 < n; i += 2)
            set(&a[i], &a[i + 1]);
        (void)buf_addstr(out, "+OK\r\n");
    } else if (slice_is(a, "HSET")) {
        for (unsigned i = 2; i + 1 < n; i += 2)
            count += hset(&a[1], &a[i], &a[i + 1]);
        number(out, count);
    } else if (slice_is(a, "DEL")) {
        for (unsigned i = 1; i < n; i++)
            count += drop(&a[i], false);
        number(out, count);
    } else if (slice_is(a, "FLUSHALL") || slice_is(a, "FLUSHDB")) {
        (void)drop(NULL, slice_is(a, "FLUSHALL"));
        (void)buf_addstr(out, "+OK\r\n");
    } else if (slice_is(a, "INCR") && n == 2) {
        incr(&a[1], out);
    } else {
        return false;
    }
    return true;
}

void store_command(const struct slice *a, unsigned n, struct buf *out)
{
    static const char *const counts[] = {"RPUSH", "LPUSH", "SADD",      "ZADD",
                                         "SREM",  "HDEL",  "PEXPIREAT", "UNLINK"};
    if (writes(a, n, out))
        return;
    if (slice_is(a, "GET") && n == 2) {
        get(&a[1], out);
        return;
    }
    if (slice_is(a, "HGETALL") && n == 2) {
        hgetall(&a[1], out);
        return;
    }
    if (slice_is(a, "HGET") && n == 3) {
        hget(&a[1], &a[2], out);
        return;
    }
    if (slice_is(a, "PTTL") && n == 2) { /* nothing expires */
        number(out, find(&a[1]) != NULL ? -1 : -2);
        return;
    }
    if (slice_is(a, "EXISTS") && n == 2) {
        number(out, find(&a[1]) != NULL);
        return;
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (slice_is(a, counts[i])) {
            number(out, 1);
            return;
        }
    (void)buf_addstr(out, "+OK\r\n");
}
