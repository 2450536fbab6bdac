/* What servers take for granted of packed hashes, sets and sorted sets: they load one that is not so, and
 * crash on it later. */
#include "shape.h"

/* A walk over the groups of elements. */
struct walk {
    const struct shape *sh;
    enum packing pack;
    const struct slice *t;
    const uint8_t *it;
    long left;            /* elements that may still come */
    struct elem el[2][3]; /* of this group and the one before */
    double score[2];
    int64_t ttl[2];
    struct odd *odd;
};

void odd_twice(struct odd *odd)
{
    odd->twice = true;
    odd->why = "each field or member once";
}

static void odd_order(struct odd *odd, const char *why)
{
    if (!odd->twice)
        odd->why = why;
}

/* Take the next group of elements. Returns 1, 0 at the end, -1: corrupt. */
static int next_group(struct walk *w, struct elem *el)
{
    for (unsigned i = 0; i < w->sh->group; i++) {
        int rc = w->pack == PACK_LISTPACK ? listpack_look(w->t->p, w->t->n, &w->it, &el[i])
                                          : packed_next(w->pack, w->t, &w->it, i, &el[i]);
        if (rc == 0 && i == 0)
            return 0;
        if (rc != 1 || --w->left < 0)
            return -1;
    }
    if (el[0].is_int)
        elem_text(&el[0]);
    return 1;
}

static int compare(const struct elem *a, const struct elem *b)
{
    int cmp = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return cmp != 0 ? cmp : a->n < b->n ? -1 : a->n > b->n;
}

/* A member of a sorted set and its score: behind the one before. */
static const char *check_score(struct walk *w, unsigned turn, bool first)
{
    struct elem *score = &w->el[turn][1];
    if (score->is_int)
        w->score[turn] = (double)score->v;
    else if (!score_number(score->p, score->n, &w->score[turn]))
        return "scores that are numbers";
    double before = w->score[!turn], now = w->score[turn];
    if (!first && (before > now || (before == now && compare(&w->el[!turn][0], &w->el[turn][0]) >= 0)))
        odd_order(w->odd, "a sorted set in the order of its scores");
    return NULL;
}

/* A field's expiry, 0 for none: not before that of the one before; those without stand last. */
static const char *check_ttl(struct walk *w, unsigned turn, bool first)
{
    const struct elem *ttl = &w->el[turn][2];
    if (!ttl->is_int || ttl->v < 0 || (uint64_t)ttl->v > FIELD_TTL_MAX)
        return "expiries of fields that are times";
    w->ttl[turn] = ttl->v;
    int64_t before = first ? 1 : w->ttl[!turn];
    if (ttl->v != 0 && (before == 0 || before > ttl->v))
        odd_order(w->odd, "fields in the order of their expiries");
    return NULL;
}

static const char *bad_structure(enum packing pack)
{
    switch (pack) {
    case PACK_LISTPACK: return "a valid listpack";
    case PACK_ZIPLIST: return "a valid ziplist";
    case PACK_INTSET: return "a valid intset";
    default: return "a valid zipmap";
    }
}

/* All groups. Returns NULL, or what was expected; *n counts the elements. */
static const char *check_groups(struct walk *w, struct keyset *seen, long *n)
{
    unsigned turn = 0;
    long most = w->left;
    bool first = true;
    for (int rc; (rc = next_group(w, w->el[turn])) != 0; turn = !turn, first = false) {
        const char *why = NULL;
        if (rc < 0)
            return bad_structure(w->pack);
        if (!distinct_add(seen, w->el[turn][0].p, w->el[turn][0].n))
            odd_twice(w->odd);
        if (w->sh->vclass == CLASS_ZSET)
            why = check_score(w, turn, first);
        else if (w->sh->group == 3)
            why = check_ttl(w, turn, first);
        if (why != NULL)
            return why;
    }
    *n = most - w->left;
    return NULL;
}

const char *sound_packed(const struct shape *sh, enum packing pack, const struct slice *t,
                         struct keyset *seen, long *n, struct odd *odd)
{
    const char *why = bad_structure(pack);
    if (sh->vclass == CLASS_LIST || pack == PACK_INTSET) {
        *n = packed_check(pack, t);
        if (*n > 1 && pack == PACK_INTSET && !intset_ascends(t->p))
            odd_order(odd, "an intset in ascending order");
        return *n < 0 ? why : NULL;
    }
    /* A listpack's own walk checks its structure. */
    bool said = pack == PACK_LISTPACK && t->n >= 7 && le16(t->p + 4) != 65535;
    long count = said ? le16(t->p + 4) : packed_check(pack, t);
    if (count < 0)
        return why;
    struct walk w = {.sh = sh, .pack = pack, .t = t, .left = count, .odd = odd};
    distinct_begin(seen, (uint64_t)count / sh->group);
    const char *wrong = check_groups(&w, seen, n);
    if (wrong == NULL && *n != count)
        wrong = why;
    odd->form |= wrong == NULL && pack == PACK_ZIPMAP && zipmap_wasteful(t->p, t->n);
    return wrong;
}
