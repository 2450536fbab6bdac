#include "reply.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)32 << 10)
#define AT_ONCE        ((size_t)16 << 10) /* texts up to this length are waited for */
#define KEPT_CAP       ((size_t)8192)     /* elements; what a reply may keep allocated */
#define KEPT_TEXT      ((size_t)256 << 10)
#define FRONT          3u /* elements: a command, a word, a key */
#define DUMP_FOOTER    10u

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
    r->depth = 0;
    r->in_bulk = false;
    r->keep = keep;
    r->fault = NULL;
}

static int fault(struct reply *r, const char *why)
{
    r->fault = why;
    return -1;
}

static struct elem *add(struct reply *r, enum reply_type type, uint64_t n)
{
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        if (cap > REPLY_ELEMS)
            return NULL;
        r->e = xrealloc(r->e, cap * sizeof *r->e);
        r->cap = cap;
    }
    struct elem *e = &r->e[r->n++];
    *e = (struct elem){.type = (uint8_t)type, .depth = (uint8_t)r->depth, .at = r->text.len, .n = n};
    return e;
}

/* One element is complete, and with it perhaps the arrays it is in. Returns 1 when the reply is. */
static int complete(struct reply *r)
{
    while (r->depth > 0 && --r->left[r->depth - 1] == 0)
        r->depth--;
    return r->depth == 0;
}

/* How much is kept of the text that comes next. */
static uint64_t wanted(const struct reply *r, uint64_t n)
{
    bool all = r->keep == KEEP_ALL || (r->keep == KEEP_SMALL && n <= KEPT_MOST);
    if (r->keep == KEEP_NAMES)
        all = r->depth < 2 || (r->size[r->depth - 1] - r->left[r->depth - 1]) % 2 == 0;
    if (r->keep == KEEP_FRONT)
        all = r->depth != 1 || r->size[0] - r->left[0] < FRONT;
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

static int keep_text(struct reply *r, struct elem *e, const uint8_t *p, uint64_t n)
{
    uint64_t want = wanted(r, e->n) - e->kept;
    size_t k = (size_t)(n < want ? n : want);
    if (buf_add(&r->text, p, k) < 0)
        return fault(r, "a reply that takes too much memory");
    e->kept += (uint32_t)k;
    return 0;
}

/* A text that is there as a whole. */
static int take_text(struct reply *r, enum reply_type type, const uint8_t *p, uint64_t n)
{
    struct elem *e = add(r, type, n);
    if (e == NULL)
        return fault(r, "a reply of too many elements");
    set_hash(e, XXH3_128bits(p, (size_t)hashed(r, n)));
    return keep_text(r, e, p, n) < 0 ? -1 : complete(r);
}

static int begin_pieces(struct reply *r, uint64_t n)
{
    if (add(r, REPLY_TEXT, n) == NULL)
        return fault(r, "a reply of too many elements");
    if (r->state == NULL)
        r->state = XXH3_createState();
    if (r->state == NULL)
        return fault(r, "out of memory");
    (void)XXH3_128bits_reset(r->state);
    r->bulk_left = n + 2;
    r->in_bulk = true;
    return 0;
}

static int take_piece(struct reply *r, const uint8_t *p, size_t n, size_t *taken)
{
    struct elem *e = &r->e[r->n - 1];
    uint64_t done = e->n + 2 - r->bulk_left, limit = hashed(r, e->n);
    uint64_t k = n < r->bulk_left ? n : r->bulk_left;
    uint64_t text = done >= e->n ? 0 : e->n - done < k ? e->n - done : k;
    uint64_t hash = done >= limit ? 0 : limit - done < text ? limit - done : text;
    *taken += (size_t)k;
    (void)XXH3_128bits_update(r->state, p, (size_t)hash);
    if (keep_text(r, e, p, text) < 0)
        return -1;
    r->bulk_left -= k;
    if (r->bulk_left > 0)
        return 0;
    set_hash(e, XXH3_128bits_digest(r->state));
    r->in_bulk = false;
    return complete(r);
}

/* "[-]digits" of n bytes. */
static bool number(const uint8_t *p, size_t n, int64_t *out)
{
    size_t i = n > 0 && p[0] == '-' ? 1 : 0;
    uint64_t v = 0;
    if (n == i || n - i > 19)
        return false;
    for (size_t k = i; k < n; k++) {
        if (p[k] < '0' || p[k] > '9')
            return false;
        v = v * 10 + (uint64_t)(p[k] - '0');
    }
    if (v > INT64_MAX)
        return false;
    *out = i == 1 ? -(int64_t)v : (int64_t)v;
    return true;
}

static int take_array(struct reply *r, int64_t n)
{
    if (add(r, n < 0 ? REPLY_NIL : REPLY_ARRAY, n < 0 ? 0 : (uint64_t)n) == NULL)
        return fault(r, "a reply of too many elements");
    if (n <= 0)
        return complete(r);
    if (r->depth == REPLY_DEPTH)
        return fault(r, "a reply of too many levels");
    r->size[r->depth] = r->left[r->depth] = (uint64_t)n;
    r->depth++;
    return 0;
}

/* A text whose length has just been read; n bytes behind it are there. */
static int take_bulk(struct reply *r, int64_t len, const uint8_t *p, size_t n, size_t *taken)
{
    if (len < 0) {
        if (add(r, REPLY_NIL, 0) == NULL)
            return fault(r, "a reply of too many elements");
        return complete(r);
    }
    if ((uint64_t)len + 2 > n)
        return begin_pieces(r, (uint64_t)len);
    *taken += (size_t)len + 2;
    return take_text(r, REPLY_TEXT, p, (uint64_t)len);
}

static int take_int(struct reply *r, int64_t v)
{
    if (add(r, REPLY_INT, (uint64_t)v) == NULL)
        return fault(r, "a reply of too many elements");
    return complete(r);
}

/* One element, or the beginning of one. Returns as reply_feed; 2: it needs more bytes than there are. */
static int take_one(struct reply *r, const uint8_t *p, size_t n, size_t *taken)
{
    const uint8_t *end = memchr(p, '\r', n);
    int64_t v = 0;
    if (end == NULL || end + 1 == p + n)
        return n > LINE_MAX_BYTES ? fault(r, "no Redis protocol") : 2;
    size_t len = (size_t)(end - p) - 1, line = len + 3;
    if (end[1] != '\n')
        return fault(r, "no Redis protocol");
    if (p[0] == '+' || p[0] == '-') {
        *taken += line;
        return take_text(r, p[0] == '+' ? REPLY_TEXT : REPLY_ERROR, p + 1, len);
    }
    if ((p[0] != ':' && p[0] != '$' && p[0] != '*') || !number(p + 1, len, &v))
        return fault(r, "no Redis protocol");
    if (p[0] == '$' && v >= 0 && (uint64_t)v <= AT_ONCE && (uint64_t)v + 2 > n - line)
        return 2;
    *taken += line;
    if (p[0] == ':')
        return take_int(r, v);
    return p[0] == '*' ? take_array(r, v) : take_bulk(r, v, p + line, n - line, taken);
}

int reply_feed(struct reply *r, const uint8_t *p, size_t n, size_t *taken)
{
    int rc = 0;
    *taken = 0;
    while (rc == 0 && *taken < n)
        rc = r->in_bulk ? take_piece(r, p + *taken, n - *taken, taken)
                        : take_one(r, p + *taken, n - *taken, taken);
    return rc == 2 ? 0 : rc;
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
