/* How streams are laid out, passing over them, and making them over for older targets. */
#include "stream_parts.h"

enum got stream_plens(struct cur *c, uint64_t *v, unsigned n)
{
    struct cur t = *c;
    for (unsigned i = 0; i < n; i++) {
        enum got g = cur_plen(&t, &v[i]);
        if (g != GOT)
            return cur_settle(c, &t, g);
    }
    c->p = t.p;
    return GOT;
}

enum got stream_pending(struct cur *c, const uint8_t **p, uint64_t *count)
{
    struct cur t = *c;
    enum got g = cur_raw(&t, 24, p);
    if (g == GOT)
        g = cur_plen(&t, count);
    return cur_settle(c, &t, g);
}

enum got stream_head(struct cur *c, struct pstr *name, size_t raw, const uint8_t **at, uint64_t *v, unsigned plens)
{
    struct cur t = *c;
    enum got g = cur_pstr(&t, name);
    if (g == GOT)
        g = cur_raw(&t, raw, at);
    if (g == GOT)
        g = stream_plens(&t, v, plens);
    return cur_settle(c, &t, g);
}

/* A copy of a value for an older target: without the consumers' active times, which came with type 21, and without
 * what stands behind the groups since type 26. */
struct older {
    struct buf *out;
    const uint8_t *from; /* copied up to here */
    bool no_active;
};

static void leave_out(struct older *old, const uint8_t *at, size_t n)
{
    (void)buf_add(old->out, old->from, (size_t)(at - old->from)); /* never longer than the original */
    old->from = at + n;
}

static enum got scan_group(unsigned type, struct cur *c, struct older *old)
{
    struct pstr name;
    uint64_t v[4], n, count;
    const uint8_t *p;
    unsigned np = group_plens(type);
    enum got g = stream_head(c, &name, 0, &p, v, np);
    for (uint64_t i = 0; g == GOT && i < v[np - 1]; i++)
        g = stream_pending(c, &p, &count);
    if (g == GOT)
        g = cur_plen(c, &n);
    for (uint64_t i = 0; g == GOT && i < n; i++) {
        uint64_t ids;
        g = stream_head(c, &name, consumer_raw(type), &p, &ids, 1);
        if (g == GOT && old != NULL && old->no_active)
            leave_out(old, p + 8, 8);
        if (g == GOT && ids > PSTR_MAX)
            g = cur_bad(c, "a possible number of pending ids");
        if (g == GOT)
            g = cur_raw(c, ids * 16, &p);
    }
    if (g == GOT && has_nacks(type)) {
        g = cur_plen(c, &n);
        if (g == GOT && n > PSTR_MAX)
            g = cur_bad(c, "a possible number of pending ids");
        if (g == GOT)
            g = cur_raw(c, n * 16, &p);
    }
    return g;
}

enum got stream_producers(struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    uint64_t v[3] = {0, 0, 0}, n = 0, id[2];
    enum got g = stream_plens(&t, v, 3);
    for (uint64_t i = 0; g == GOT && i < v[2]; i++) {
        g = cur_pstr(&t, &ps);
        if (g == GOT)
            g = cur_plen(&t, &n);
        for (uint64_t k = 0; g == GOT && k < n; k++) {
            g = cur_pstr(&t, &ps);
            if (g == GOT)
                g = stream_plens(&t, id, 2);
        }
    }
    if (g == GOT)
        g = stream_plens(&t, v, 2);
    return cur_settle(c, &t, g);
}

static enum got scan(unsigned type, struct cur *c, struct scratch *s, struct older *old)
{
    uint64_t nodes, v[9];
    unsigned np = tail_plens(type);
    enum got g = cur_plen(c, &nodes);
    for (uint64_t i = 0; g == GOT && i < nodes; i++)
        g = stream_node(c, s, NULL);
    if (g == GOT)
        g = stream_plens(c, v, np);
    for (uint64_t i = 0; g == GOT && i < v[np - 1]; i++)
        g = scan_group(type, c, old);
    if (g == GOT && has_producers(type)) {
        const uint8_t *tail = c->p;
        g = stream_producers(c);
        if (g == GOT && old != NULL)
            leave_out(old, tail, (size_t)(c->p - tail));
    }
    return g;
}

enum got stream_scan(unsigned type, struct cur *c, struct scratch *s)
{
    return scan(type, c, s, NULL);
}

enum got stream_to_older(unsigned type, bool no_active, struct cur *c, struct scratch *s, struct slice *out)
{
    struct older old = {&s->copy, c->p, no_active};
    s->copy.len = 0;
    enum got g = scan(type, c, s, &old);
    if (g != GOT)
        return g;
    leave_out(&old, c->p, 0);
    *out = (struct slice){s->copy.p, s->copy.len};
    return GOT;
}
