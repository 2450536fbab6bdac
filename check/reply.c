#include "reply.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_CAP    ((size_t)8192) /* elements; what a reply may keep allocated */
#define KEPT_TEXT   ((size_t)256 << 10)
#define FRONT       3u /* elements: a command, a word, a key */
#define DUMP_FOOTER 10u

void reply_init(struct reply *r)
{
    memset(r, 0, sizeof *r);
    r->text.max = REPLY_TEXT_MAX;
}

void reply_free(struct reply *r)
{
    free(r->e);
    buf_free(&r->text);
    XXH3_freeState(r->state);
    reply_init(r);
}

void reply_begin(struct reply *r, enum reply_keep keep)
{
    if (r->cap > KEPT_CAP) {
        free(r->e);
        r->e = NULL;
        r->cap = 0;
    }
    r->n = 0;
    r->text.len = 0;
    buf_trim(&r->text, KEPT_TEXT);
    resp_begin(&r->in);
    r->keep = keep;
    r->fault = NULL;
}

static int fault(struct reply *r, const char *why)
{
    r->fault = why;
    return -1;
}

static int add(struct reply *r, const struct resp_token *t, enum reply_type type, uint64_t n)
{
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        if (cap > REPLY_ELEMS)
            return fault(r, "a reply of too many elements");
        r->e = xrealloc(r->e, cap * sizeof *r->e);
        r->cap = cap;
    }
    r->e[r->n++] =
        (struct elem){.type = (uint8_t)type, .depth = (uint8_t)t->depth, .at = r->text.len, .n = n};
    r->done = 0;
    return 0;
}

/* How much is kept of the text of which t has bytes. */
static uint64_t wanted(const struct reply *r, const struct resp_token *t, uint64_t n)
{
    bool all = r->keep == KEEP_ALL || (r->keep == KEEP_SMALL && n <= KEPT_MOST);
    if (r->keep == KEEP_NAMES)
        all = t->depth < 2 || t->index % 2 == 0;
    if (r->keep == KEEP_FRONT)
        all = t->depth != 1 || t->index < FRONT;
    return all || n < REPLY_PREFIX ? n : REPLY_PREFIX;
}

static uint64_t hashed(const struct reply *r, uint64_t n)
{
    if (r->keep != KEEP_DUMP)
        return n;
    return n > DUMP_FOOTER ? n - DUMP_FOOTER : 0;
}

static void set_hash(struct elem *e, XXH128_hash_t h)
{
    e->hash[0] = h.low64;
    e->hash[1] = h.high64;
}

/* A text that comes in pieces. */
static int hash_piece(struct reply *r, struct elem *e, const struct resp_token *t)
{
    uint64_t limit = hashed(r, e->n), left = limit > r->done ? limit - r->done : 0;
    if (r->state == NULL)
        r->state = XXH3_createState();
    if (r->state == NULL)
        return fault(r, "out of memory");
    if (r->done == 0)
        (void)XXH3_128bits_reset(r->state);
    (void)XXH3_128bits_update(r->state, t->text, t->len < left ? t->len : (size_t)left);
    r->done += t->len;
    if (r->done == e->n)
        set_hash(e, XXH3_128bits_digest(r->state));
    return 0;
}

/* Bytes of the text that is the last element. */
static int take_text(struct reply *r, const struct resp_token *t)
{
    struct elem *e = &r->e[r->n - 1];
    uint64_t want = wanted(r, t, e->n) - e->kept;
    size_t k = (size_t)(t->len < want ? t->len : want);
    if (buf_add(&r->text, t->text, k) < 0)
        return fault(r, "a reply that takes too much memory");
    e->kept += (uint32_t)k;
    if (t->len == e->n)
        set_hash(e, XXH3_128bits(t->text, (size_t)hashed(r, e->n)));
    else if (t->len > 0)
        return hash_piece(r, e, t);
    return 0;
}

static int take(struct reply *r, const struct resp_token *t)
{
    switch (t->type) {
    case '+': return add(r, t, REPLY_TEXT, t->len) < 0 ? -1 : take_text(r, t);
    case '-': return add(r, t, REPLY_ERROR, t->len) < 0 ? -1 : take_text(r, t);
    case ':': return add(r, t, REPLY_INT, (uint64_t)t->n);
    case 'b': return take_text(r, t);
    default: break;
    }
    if (t->n < 0)
        return add(r, t, REPLY_NIL, 0);
    return add(r, t, t->type == '*' ? REPLY_ARRAY : REPLY_TEXT, (uint64_t)t->n);
}

int reply_feed(struct reply *r, const uint8_t *p, size_t n, size_t *taken)
{
    struct resp_token t;
    enum resp_got got;
    size_t used;
    for (*taken = 0; (got = resp_next(&r->in, p + *taken, n - *taken, &used, &t)) == RESP_GOT;) {
        *taken += used;
        if (take(r, &t) < 0)
            return -1;
        if (t.end)
            return 1;
    }
    if (got == RESP_NONE)
        return 0;
    return fault(r, got == RESP_DEEP ? "a reply of too many levels" : "no Redis protocol");
}

void reply_swap(struct reply *a, struct reply *b)
{
    struct reply t = *a;
    *a = *b;
    *b = t;
}

bool elem_same(const struct elem *a, const struct elem *b)
{
    if (a->type != b->type || a->depth != b->depth)
        return false;
    return a->type == REPLY_TEXT || a->type == REPLY_ERROR ? elem_same_text(a, b) : a->n == b->n;
}

bool elem_is(const struct reply *r, const struct elem *e, const char *text)
{
    size_t n = strlen(text);
    return elem_whole(e) && e->n == n && memcmp(elem_text(r, e), text, n) == 0;
}

size_t reply_skip(const struct reply *r, size_t at)
{
    unsigned depth = r->e[at].depth;
    for (at++; at < r->n && r->e[at].depth > depth;)
        at++;
    return at;
}

size_t reply_child(const struct reply *r, size_t at, uint64_t i)
{
    if (at >= r->n || r->e[at].type != REPLY_ARRAY || i >= r->e[at].n)
        return r->n;
    for (at++; i > 0; i--)
        at = reply_skip(r, at);
    return at;
}

size_t reply_field(const struct reply *r, size_t at, const char *name)
{
    if (at >= r->n || r->e[at].type != REPLY_ARRAY)
        return r->n;
    size_t end = reply_skip(r, at), value;
    for (at++; at < end; at = reply_skip(r, value)) {
        value = reply_skip(r, at);
        if (value >= end)
            break;
        if (elem_is(r, &r->e[at], name))
            return value;
    }
    return r->n;
}
