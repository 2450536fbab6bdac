/* Primitives of RDB streams: a bounded cursor, packed integers (plen) and strings (pstr). Pure, no I/O.
 * rdb(5), PRIMITIVES. */
#ifndef DFP_PRIM_H
#define DFP_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "le.h"

/* What a decoder says. NEED: the bytes end before the item does; nothing is lost, call again with more. */
enum got { GOT = 0, NEED = 1, BAD = -1 };

/* Bytes from p to end. want: after NEED, a lower bound of how many more are needed behind end.
 * why: after BAD, what was expected. */
struct cur {
    const uint8_t *p;
    const uint8_t *end;
    uint64_t want;
    const char *why;
};

static inline size_t cur_left(const struct cur *c)
{
    return (size_t)(c->end - c->p);
}

static inline enum got cur_need(struct cur *c, uint64_t total)
{
    c->want = total > cur_left(c) ? total - cur_left(c) : 1;
    return NEED;
}

static inline enum got cur_bad(struct cur *c, const char *why)
{
    c->why = why;
    return BAD;
}

/* A decoder tried with a copy t of c and got g: take over how far it came, or what it lacks. */
static inline enum got cur_settle(struct cur *c, const struct cur *t, enum got g)
{
    if (g == GOT)
        c->p = t->p;
    c->want = t->want;
    c->why = t->why;
    return g;
}

static inline uint64_t be64(const uint8_t *p)
{
    return __builtin_bswap64(le64(p));
}

enum got cur_plen_slow(struct cur *c, uint64_t *v);

/* Packed integer. A string encoding (11xxxxxx) is BAD here. */
static inline enum got cur_plen(struct cur *c, uint64_t *v)
{
    if (c->p < c->end && *c->p < 0x40) {
        *v = *c->p++;
        return GOT;
    }
    return cur_plen_slow(c, v);
}

/* n of them: all or none are taken. */
static inline enum got cur_plens(struct cur *c, uint64_t *v, unsigned n)
{
    struct cur t = *c;
    enum got g = GOT;
    for (unsigned i = 0; g == GOT && i < n; i++)
        g = cur_plen(&t, &v[i]);
    return cur_settle(c, &t, g);
}

/* n raw bytes. */
static inline enum got cur_raw(struct cur *c, size_t n, const uint8_t **p)
{
    if (cur_left(c) < n) {
        (void)cur_need(c, n);
        return NEED;
    }
    *p = c->p;
    c->p += n;
    return GOT;
}

/* A string. clen 0: p and n are its bytes (for integers they lie in text). clen > 0: LZF, p points at clen
 * compressed bytes that unpack to n. */
struct pstr {
    const uint8_t *p;
    size_t n;
    size_t clen;
    uint8_t text[12];
};

enum got cur_pstr_slow(struct cur *c, struct pstr *s);

/* Do not copy a struct pstr: p may point into it. */
static inline enum got cur_pstr(struct cur *c, struct pstr *s)
{
    if (c->p < c->end && *c->p < 0x40 && (size_t)(c->end - c->p) > *c->p) {
        s->n = *c->p++;
        s->p = c->p;
        s->clen = 0;
        c->p += s->n;
        return GOT;
    }
    return cur_pstr_slow(c, s);
}

/* Length and place of a plain string that need not be all there: GOT when its length is known; *n its bytes,
 * the cursor stands before the first. *plain false: an integer or LZF form, cursor unmoved. */
enum got cur_pstr_head(struct cur *c, uint64_t *n, bool *plain);

/* LZF: unpack exactly outn bytes from all n bytes of in. Returns 0, or -1 when the data are corrupt. */
int lzf_unpack(const uint8_t *in, size_t n, uint8_t *out, size_t outn);

/* LZF in pieces: unpack from *in on behind the *len bytes of buf, of which at least the last 8192 made so far
 * must be there, until fewer than LZF_STEP bytes of cap are free or the input ends. Returns 0, or -1 when
 * corrupt. */
#define LZF_WINDOW ((size_t)8192)
#define LZF_STEP   ((size_t)264)
int lzf_continue(const uint8_t **in, const uint8_t *end, uint8_t *buf, size_t *len, size_t cap);

/* Strings above this are refused as damage: no server makes them. */
#define PSTR_MAX ((uint64_t)4 << 30)

#endif
