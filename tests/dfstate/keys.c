/* The names of all keys. They are collected before any value is read: sorted names are enough to
 * read the values in order, and SCAN may return a name twice. */
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

enum { BLOCK = 1 << 20 };

static const char *keep_name(keylist *l, const char *p, size_t n)
{
    size_t size = n > BLOCK ? n : BLOCK;
    char *to;

    if (!l->nblocks || l->room < n) {
        l->blocks = reallocarray(l->blocks, l->nblocks + 1, sizeof(*l->blocks));
        if (!l->blocks)
            die("out of memory");
        l->blocks[l->nblocks] = malloc(size);
        if (!l->blocks[l->nblocks])
            die("out of memory");
        l->nblocks++;
        l->room = size;
    }
    /* the block's end is known only through `room`, so names fill it from the back */
    to = l->blocks[l->nblocks - 1] + (l->room - n);
    memcpy(to, p, n);
    l->room -= n;
    return to;
}

static void add_key(keylist *l, const redisReply *key, int db, size_t node_no)
{
    const size_t prefix = strlen(POSITION_PREFIX);

    if (key->type != REDIS_REPLY_STRING || key->len > UINT32_MAX)
        die("SCAN: a key that is no string");
    if (key->len >= prefix && memcmp(key->str, POSITION_PREFIX, prefix) == 0)
        return;
    l->refs = grow_array(l->refs, &l->cap, l->n + 1, sizeof(*l->refs));
    l->refs[l->n++] =
        (keyref){keep_name(l, key->str, key->len), (uint32_t)key->len, (uint16_t)db, (uint16_t)node_no};
}

static void scan_db(keylist *l, node *n, size_t node_no, int db)
{
    char *cursor = copy_text("0", 1);

    node_select(n, db);
    do {
        wire_put(n, (bytes[]){lit("SCAN"), lit(cursor), lit("COUNT"), lit("1000")}, 4);
        redisReply *r = wire_reply_ok(n, "SCAN");

        if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !r->element[0]->str)
            die("SCAN: unexpected reply");
        free(cursor);
        cursor = copy_text(r->element[0]->str, r->element[0]->len);
        for (size_t i = 0; i < r->element[1]->elements; i++)
            add_key(l, r->element[1]->element[i], db, node_no);
        freeReplyObject(r);
    } while (strcmp(cursor, "0") != 0);
    free(cursor);
}

static int cmp_key(const keyref *a, const keyref *b)
{
    if (a->db != b->db)
        return a->db < b->db ? -1 : 1;
    return bytes_cmp((bytes){a->key, a->len}, (bytes){b->key, b->len});
}

static int cmp_ref(const void *a, const void *b)
{
    const keyref *x = a, *y = b;
    int c = cmp_key(x, y);

    return c ? c : (x->node > y->node) - (x->node < y->node);
}

void keylist_sort(keylist *l, bool one_a_key)
{
    size_t kept = 0;

    if (l->n)
        qsort(l->refs, l->n, sizeof(*l->refs), cmp_ref);
    for (size_t i = 0; i < l->n; i++) {
        keyref *last = kept ? &l->refs[kept - 1] : NULL;

        if (last && cmp_key(last, &l->refs[i]) == 0 && (one_a_key || last->node == l->refs[i].node))
            *last = l->refs[i];
        else
            l->refs[kept++] = l->refs[i];
    }
    l->n = kept;
}

void keylist_scan(keylist *l, server *s, const target *t)
{
    *l = (keylist){0};
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < t->ndbs; j++)
            scan_db(l, &s->nodes[i], i, t->dbs[j]);
}

void keylist_free(keylist *l)
{
    for (size_t i = 0; i < l->nblocks; i++)
        free(l->blocks[i]);
    free(l->blocks);
    free(l->refs);
    *l = (keylist){0};
}
