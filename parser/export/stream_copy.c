#include "stream_copy.h"

#include "put.h"

#define OWNED 17 /* an id, and whether it has an owner */

enum phase {
    COPY_COUNT,
    COPY_NODES,
    COPY_TAIL,
    COPY_GROUP,
    COPY_PENDING,
    COPY_CONSUMERS,
    COPY_CONSUMER,
    COPY_IDS,
    COPY_NACKS,
    COPY_NACK,
    COPY_PRODUCERS,
    COPY_DONE,
};

/* Where copies go. */
struct target_bytes {
    struct heap *h;
    struct heaped *out;
};

void stream_copy_begin(struct stream_copy *v, unsigned from, unsigned to)
{
    struct buf pel = v->pel;
    *v = (struct stream_copy){.from = from, .to = to, .pel = pel};
    v->pel.len = 0;
    v->pel.max = PEL_MAX;
}

static void damage(struct stream_copy *v, const char *why)
{
    if (v->damage == NULL)
        v->damage = why;
}

static void add(const struct target_bytes *t, const void *p, size_t n)
{
    if (t->h != NULL)
        heaped_add(t->h, t->out, p, n);
}

static void add_lens(const struct target_bytes *t, const uint64_t *v, unsigned n)
{
    uint8_t b[9 * PUT_LEN_MAX], *p = b;
    for (unsigned i = 0; i < n; i++)
        p = put_len(p, v[i]);
    add(t, b, (size_t)(p - b));
}

static enum got copy_node(struct stream_copy *v, struct cur *c, struct scratch *s,
                          const struct target_bytes *t)
{
    const uint8_t *from = c->p;
    const char *why = NULL;
    enum got g = stream_node(c, s, NULL, &v->order, &why);
    if (g != GOT)
        return g;
    if (why != NULL && scratch_fault(s) != 0)
        return cur_bad(c, why);
    if (why != NULL)
        damage(v, why);
    if (v->order.tangled)
        damage(v, "the nodes of a stream in the order of their ids");
    add(t, from, (size_t)(c->p - from));
    v->left--;
    return GOT;
}

/* length, last id, [first id, greatest deleted id, entries added,] groups. */
static enum got copy_tail(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    uint64_t n[9] = {0};
    unsigned np = tail_plens(v->from);
    enum got g = cur_plens(c, n, np);
    if (g != GOT)
        return g;
    const char *why = stream_tail_damage(n, &v->order);
    if (why != NULL)
        damage(v, why);
    v->groups = n[np - 1];
    add_lens(t, n, 3);
    add_lens(t, n + 3, tail_plens(v->to) - 4);
    add_lens(t, &v->groups, 1);
    v->phase = COPY_GROUP;
    return GOT;
}

/* name, last delivered id, [entries read,] pending entries. */
static enum got copy_group(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    struct pstr name;
    const uint8_t *unused, *from = c->p;
    uint64_t n[4] = {0};
    unsigned np = group_plens(v->from);
    struct cur head = *c;
    enum got g = stream_head(c, &name, 0, &unused, n, np);
    if (g != GOT)
        return g;
    (void)cur_pstr(&head, &name);
    add(t, from, (size_t)(head.p - from));
    add_lens(t, n, group_plens(v->to) - 1);
    add_lens(t, n + np - 1, 1);
    v->groups--;
    v->left = v->pending = n[np - 1];
    v->owned = 0;
    v->unkept = false;
    v->pel.len = 0;
    v->phase = COPY_PENDING;
    return GOT;
}

static enum got copy_pending(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    const uint8_t *p = NULL, *from = c->p;
    uint64_t count;
    enum got g = stream_pending(c, &p, &count);
    if (g != GOT)
        return g;
    if (!v->unkept && v->pel.len > 0 && memcmp(v->pel.p + v->pel.len - OWNED, p, 16) >= 0)
        damage(v, "pending entries in ascending order");
    if (PEL_MAX - v->pel.len < OWNED)
        v->unkept = true;
    else if (buf_add(&v->pel, p, 16) < 0 || buf_add(&v->pel, "", 1) < 0)
        return cur_bad(c, "memory for pending entries");
    add(t, from, (size_t)(c->p - from));
    v->left--;
    return GOT;
}

/* name, seen time, [active time,] ids. */
static enum got copy_consumer(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    struct pstr name;
    const uint8_t *times = NULL, *from = c->p;
    enum got g = stream_head(c, &name, consumer_raw(v->from), &times, &v->left, 1);
    if (g != GOT)
        return g;
    add(t, from, (size_t)(times - from) + 8);
    if (consumer_raw(v->to) > 8)
        add(t, times + 8, 8);
    add_lens(t, &v->left, 1);
    v->consumers--;
    v->phase = COPY_IDS;
    return GOT;
}

/* An id of a pending entry that a consumer, or nobody, owns. */
static enum got copy_id(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 16, &p);
    if (g != GOT)
        return g;
    const uint8_t *pe = v->unkept ? NULL : stream_find_pending(&v->pel, OWNED, p);
    if (pe != NULL && pe[16] == 0)
        v->pel.p[(size_t)(pe - v->pel.p) + 16] = 1;
    else if (!v->unkept)
        damage(v, "consumers whose pending entries are their group's");
    v->owned++;
    v->left--;
    add(t, p, 16);
    return GOT;
}

static void group_done(struct stream_copy *v)
{
    if (v->owned != v->pending)
        damage(v, "pending entries that each have a consumer");
    v->phase = COPY_GROUP;
}

/* Pending entries that nobody owns: older servers have none. */
static enum got copy_nacks(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    enum got g = cur_plen(c, &v->left);
    if (g != GOT)
        return g;
    if (has_nacks(v->to))
        add_lens(t, &v->left, 1);
    else if (v->left > 0)
        damage(v, "pending entries that each have a consumer, since the target has no others");
    v->phase = COPY_NACK;
    return GOT;
}

static enum got copy_producers(struct stream_copy *v, struct cur *c, const struct target_bytes *t)
{
    const uint8_t *from = c->p;
    enum got g = has_producers(v->from) ? stream_producers(c) : GOT;
    if (g != GOT)
        return g;
    if (has_producers(v->to))
        add(t, from, (size_t)(c->p - from));
    v->phase = COPY_DONE;
    return GOT;
}

static enum got copy_number(struct cur *c, uint64_t *n, int *phase, int next, const struct target_bytes *t)
{
    enum got g = cur_plen(c, n);
    if (g == GOT) {
        add_lens(t, n, 1);
        *phase = next;
    }
    return g;
}

static enum got copy_step(struct stream_copy *v, struct cur *c, struct scratch *s,
                          const struct target_bytes *t)
{
    switch ((enum phase)v->phase) {
    case COPY_COUNT: return copy_number(c, &v->left, &v->phase, COPY_NODES, t);
    case COPY_NODES:
        if (v->left > 0)
            return copy_node(v, c, s, t);
        v->phase = COPY_TAIL;
        return GOT;
    case COPY_TAIL: return copy_tail(v, c, t);
    case COPY_GROUP:
        if (v->groups > 0)
            return copy_group(v, c, t);
        v->phase = COPY_PRODUCERS;
        return GOT;
    case COPY_PENDING:
        if (v->left > 0)
            return copy_pending(v, c, t);
        v->phase = COPY_CONSUMERS;
        return GOT;
    case COPY_CONSUMERS: return copy_number(c, &v->consumers, &v->phase, COPY_CONSUMER, t);
    case COPY_CONSUMER:
        if (v->consumers > 0)
            return copy_consumer(v, c, t);
        if (has_nacks(v->from))
            v->phase = COPY_NACKS;
        else
            group_done(v);
        return GOT;
    case COPY_IDS:
        if (v->left > 0)
            return copy_id(v, c, t);
        v->phase = COPY_CONSUMER;
        return GOT;
    case COPY_NACKS: return copy_nacks(v, c, t);
    case COPY_NACK:
        if (v->left > 0)
            return copy_id(v, c, t);
        group_done(v);
        return GOT;
    case COPY_PRODUCERS: return copy_producers(v, c, t);
    case COPY_DONE: break;
    }
    return GOT;
}

enum got stream_copy(struct stream_copy *v, struct cur *c, struct scratch *s, struct heap *h,
                     struct heaped *out)
{
    const struct target_bytes t = {h, out};
    const uint8_t *from = c->p;
    enum got g = GOT;
    while (g == GOT && v->phase != COPY_DONE) {
        g = copy_step(v, c, s, &t);
        if (c->p - from > (ptrdiff_t)PAGES_STEP && s->pages != NULL) {
            pages_drop(s->pages);
            from = c->p;
        }
    }
    return g;
}
