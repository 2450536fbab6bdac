/* The fields of an element: strings, scores and expiries. */
#include <math.h>
#include <stdlib.h>

#include "../snapshot/shape.h"

#define DF_EPOCH 1675209600u /* field expiries of Dragonfly count seconds from 2023-02-01 */

static enum got scan_field(struct cur *c, enum field f)
{
    struct pstr ps;
    uint64_t n;
    const uint8_t *p;
    if (f == F_F64 || f == F_TTL_I64)
        return cur_raw(c, 8, &p);
    if (f == F_TTL_REL || f == F_TTL_ABS)
        return cur_plen(c, &n);
    if (f != F_DOUBLETEXT)
        return cur_pstr(c, &ps);
    if (c->p >= c->end)
        return cur_need(c, 1);
    return cur_raw(c, *c->p >= 253 ? 1 : (size_t)1 + *c->p, &p);
}

/* m / 10^frac where this is exact: m has at most 53 bits. */
static bool short_decimal(const uint8_t *p, size_t n, double *d)
{
    static const double pow10[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    uint64_t m = 0;
    size_t i = n > 0 && p[0] == '-', frac = 0;
    bool dot = false, minus = i > 0;
    if (n == i || n - i > 16)
        return false;
    for (; i < n; i++) {
        if (p[i] == '.' && !dot) {
            dot = true;
            continue;
        }
        if (p[i] < '0' || p[i] > '9')
            return false;
        m = m * 10 + (uint64_t)(p[i] - '0');
        frac += dot;
    }
    if (m > UINT64_C(1) << 53 || (dot && n < 3))
        return false;
    *d = (double)m / pow10[frac];
    if (minus)
        *d = -*d;
    return true;
}

bool score_number(const uint8_t *p, size_t n, double *d)
{
    char text[128], *end;
    if (short_decimal(p, n, d))
        return true;
    if (n == 0 || n >= sizeof text)
        return false;
    memcpy(text, p, n);
    text[n] = '\0';
    *d = strtod(text, &end);
    return end == text + n && !isnan(*d);
}

static bool score_of(enum field f, const uint8_t *p, double *d)
{
    if (f == F_F64) {
        memcpy(d, p, sizeof *d);
        return !isnan(*d);
    }
    if (*p < 253)
        return score_number(p + 1, *p, d);
    *d = *p == 254 ? INFINITY : -INFINITY;
    return *p > 253;
}

/* Expiry of a field in ms, 0: none. False when the text is no possible one. */
static bool ttl_of(const struct slice *t, uint64_t *ms)
{
    char num[20];
    char *end;
    *ms = 0;
    if (t->n == 0 || t->n >= sizeof num)
        return false;
    memcpy(num, t->p, t->n);
    num[t->n] = '\0';
    long long v = strtoll(num, &end, 10);
    if (end != num + t->n || v > INT64_MAX / 1000 - (long long)DF_EPOCH)
        return false;
    if (v >= 0)
        *ms = ((uint64_t)v + DF_EPOCH) * 1000;
    return true;
}

/* Expiry of a field as its type gives it at `at` or in *ps, *ms 0: none. base: what F_TTL_REL is relative to.
 * False: it is no possible time. */
static bool field_ttl(enum field f, uint64_t base, const uint8_t *at, const struct pstr *ps, uint64_t *ms)
{
    struct cur c = {at, at + 9, 0, NULL};
    uint64_t n = 0;
    if (f == F_TTL) {
        struct slice t = {ps->p, ps->n};
        return ps->clen == 0 && ttl_of(&t, ms);
    }
    if (f == F_TTL_I64)
        n = (int64_t)le64(at) < 0 ? 0 : le64(at);
    else if (f == F_TTL_REL || f == F_TTL_ABS)
        (void)cur_plen(&c, &n); /* was scanned */
    if (f != F_TTL_REL || n == 0)
        base = 1;
    *ms = n == 0 ? 0 : base - 1 + n;
    return n <= FIELD_TTL_MAX && base <= FIELD_TTL_MAX && *ms <= FIELD_TTL_MAX;
}

/* A field that is not what it should be is noted in x->damage. */
static enum got take_field(enum field f, struct cur *c, struct scratch *s, uint64_t base, struct element *x)
{
    struct pstr ps;
    const uint8_t *at = c->p;
    const char *damage = NULL;
    enum got g = f == F_STR || f == F_TTL ? cur_pstr(c, &ps) : scan_field(c, f);
    if (g != GOT)
        return g;
    if (f == F_STR) {
        if (!value_text(s, x->nstr, &ps, &x->str[x->nstr]))
            damage = UNPACKS;
        if (ps.p == ps.text) { /* integers lie in ps, which goes: keep their text */
            s->num[x->nstr].n = ps.n;
            memcpy(s->num[x->nstr].text, ps.text, ps.n);
            x->str[x->nstr].p = s->num[x->nstr].text;
        }
        x->nstr++;
    } else if (f == F_F64 || f == F_DOUBLETEXT) {
        if (!score_of(f, at, &x->score))
            damage = "scores that are numbers";
    } else if (!field_ttl(f, base, at, &ps, &x->ms)) {
        damage = "expiries of fields that are times";
    }
    if (x->damage == NULL)
        x->damage = damage;
    return GOT;
}

enum got element_take(const struct shape *sh, struct cur *c, struct scratch *s, uint64_t base,
                      struct element *x)
{
    const uint8_t *from = c->p;
    x->nstr = 0;
    x->ms = 0;
    x->damage = NULL;
    for (const enum field *f = sh->fields; f < sh->fields + 4 && *f != F_END; f++) {
        enum got g = take_field(*f, c, s, base, x);
        if (__builtin_expect(g != GOT, 0)) {
            c->p = from;
            return g;
        }
    }
    return GOT;
}
