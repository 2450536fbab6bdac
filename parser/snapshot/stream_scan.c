/* How streams are laid out, passing over them, and making them over for older targets. */
#include "../value/stream.h"

enum got stream_pending(struct cur *c, const uint8_t **p, uint64_t *count)
{
    struct cur t = *c;
    enum got g = cur_raw(&t, 24, p);
    if (g == GOT)
        g = cur_plen(&t, count);
    return cur_settle(c, &t, g);
}

enum got stream_head(struct cur *c, struct pstr *name, size_t raw, const uint8_t **at, uint64_t *v,
                     unsigned plens)
{
    struct cur t = *c;
    enum got g = cur_pstr(&t, name);
    if (g == GOT)
        g = cur_raw(&t, raw, at);
    if (g == GOT)
        g = cur_plens(&t, v, plens);
    return cur_settle(c, &t, g);
}

/* A copy of a value for an older target: without the consumers' active times, which came with type 21, and
 * without what stands behind the groups since type 26. */
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

static void damage(struct scratch *s, const char *why)
{
    if (s->damage == NULL)
        s->damage = why;
}

const char *stream_tail_damage(const uint64_t *tail, const struct stream_order *order)
{
    if (tail[0] != order->live)
        return "as many entries as the stream says it has";
    if (order->live > 0 && (tail[1] < order->ms || (tail[1] == order->ms && tail[2] < order->seq)))
        return "a last id that is not below those of the entries";
    return NULL;
}

const uint8_t *stream_find_pending(const struct buf *pel, size_t width, const uint8_t *id)
{
    size_t lo = 0, hi = pel->len / width;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int cmp = memcmp(pel->p + mid * width, id, 16);
        if (cmp == 0)
            return pel->p + mid * width;
        if (cmp < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

#define OWNED 17 /* an id, and whether it has an owner */

/* The pending entries of a group, kept in s->pel. */
static enum got scan_pending(struct cur *c, struct scratch *s, uint64_t n)
{
    const uint8_t *p;
    uint64_t count;
    enum got g = GOT;
    s->pel.len = 0;
    s->pel.max = PEL_MAX;
    s->pel_full = false;
    for (uint64_t i = 0; i < n && (g = stream_pending(c, &p, &count)) == GOT; i++) {
        if (!s->pel_full && s->pel.len > 0 && memcmp(s->pel.p + s->pel.len - OWNED, p, 16) >= 0)
            damage(s, "pending entries in ascending order");
        if (PEL_MAX - s->pel.len < OWNED)
            s->pel_full = true;
        else if (buf_add(&s->pel, p, 16) < 0 || buf_add(&s->pel, "", 1) < 0)
            return cur_bad(c, "memory for pending entries");
    }
    return g;
}

/* Ids of pending entries that a consumer, or nobody, owns: each of the group's, once. */
static enum got scan_owned(struct cur *c, struct scratch *s, uint64_t n, uint64_t *owned)
{
    const uint8_t *p = NULL;
    if (n > PSTR_MAX)
        return cur_bad(c, "a possible number of pending ids");
    enum got g = cur_raw(c, n * 16, &p);
    for (uint64_t i = 0; g == GOT && i < n && !s->pel_full; i++) {
        const uint8_t *pe = stream_find_pending(&s->pel, OWNED, p + i * 16);
        if (pe == NULL || pe[16] != 0)
            damage(s, "consumers whose pending entries are their group's");
        else
            s->pel.p[(size_t)(pe - s->pel.p) + 16] = 1;
    }
    *owned += n;
    return g;
}

/* A group or a consumer, which may be there once. */
static void check_name(struct scratch *s, unsigned which, const struct pstr *name)
{
    struct slice t;
    if (!value_text(s, 0, name, &t))
        damage(s, UNPACKS);
    else if (!distinct_add(&s->seen[which], t.p, t.n))
        damage(s, "each group and consumer once");
}

static enum got scan_consumer(unsigned type, struct cur *c, struct scratch *s, struct older *old,
                              uint64_t *owned)
{
    struct pstr name;
    const uint8_t *p = NULL;
    uint64_t ids = 0;
    enum got g = stream_head(c, &name, consumer_raw(type), &p, &ids, 1);
    if (g != GOT)
        return g;
    check_name(s, 2, &name);
    if (old != NULL && old->no_active && p != NULL)
        leave_out(old, p + 8, 8);
    return scan_owned(c, s, ids, owned);
}

static enum got scan_group(unsigned type, struct cur *c, struct scratch *s, struct older *old)
{
    struct pstr name;
    uint64_t v[4], n, owned = 0;
    const uint8_t *p;
    unsigned np = group_plens(type);
    enum got g = stream_head(c, &name, 0, &p, v, np);
    if (g != GOT)
        return g;
    check_name(s, 1, &name);
    g = scan_pending(c, s, v[np - 1]);
    if (g == GOT)
        g = cur_plen(c, &n);
    if (g == GOT)
        distinct_begin(&s->seen[2], n <= cur_left(c) ? n : 0);
    for (uint64_t i = 0; g == GOT && i < n; i++)
        g = scan_consumer(type, c, s, old, &owned);
    if (g == GOT && has_nacks(type)) {
        g = cur_plen(c, &n);
        if (g == GOT)
            g = scan_owned(c, s, n, &owned);
    }
    if (g == GOT && owned != v[np - 1])
        damage(s, "pending entries that each have a consumer");
    return g;
}

enum got stream_producers(struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    uint64_t v[3] = {0, 0, 0}, n = 0, id[2];
    enum got g = cur_plens(&t, v, 3);
    for (uint64_t i = 0; g == GOT && i < v[2]; i++) {
        g = cur_pstr(&t, &ps);
        if (g == GOT)
            g = cur_plen(&t, &n);
        for (uint64_t k = 0; g == GOT && k < n; k++) {
            g = cur_pstr(&t, &ps);
            if (g == GOT)
                g = cur_plens(&t, id, 2);
        }
    }
    if (g == GOT)
        g = cur_plens(&t, v, 2);
    return cur_settle(c, &t, g);
}

static enum got scan(unsigned type, struct cur *c, struct scratch *s, struct older *old)
{
    uint64_t nodes, v[9];
    unsigned np = tail_plens(type);
    const char *why = NULL;
    s->damage = NULL;
    s->odd = (struct odd){.why = NULL};
    s->order = (struct stream_order){.any = false};
    enum got g = cur_plen(c, &nodes);
    for (uint64_t i = 0; g == GOT && i < nodes; i++) {
        g = stream_node(c, s, NULL, &s->order, &why);
        if (g == GOT && why != NULL) {
            if (scratch_fault(s) != 0)
                return cur_bad(c, why);
            damage(s, why);
        }
    }
    s->odd.form = s->order.tangled;
    if (g == GOT)
        g = cur_plens(c, v, np);
    if (g != GOT)
        return g;
    if ((why = stream_tail_damage(v, &s->order)) != NULL)
        damage(s, why);
    distinct_begin(&s->seen[1], v[np - 1] <= cur_left(c) ? v[np - 1] : 0);
    for (uint64_t i = 0; g == GOT && i < v[np - 1]; i++)
        g = scan_group(type, c, s, old);
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
