#include "command.h"

#include <stdlib.h>

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static size_t count_passing(const struct filter *filter, uint32_t db, const struct keys *k,
                            const struct slice *argv, unsigned vclass, size_t *all)
{
    size_t n = 0;
    *all = 0;
    for (size_t i = keys_next(k, 0); i != 0; i = keys_next(k, i), (*all)++)
        n += filter_passes(filter, argv[i].p, argv[i].n, vclass, db);
    return n;
}

/* The arguments with keys renamed, and with cut only those of keys that go through. */
static bool rewrite(struct renamed *to, const struct filter *filter, uint32_t db, const struct keys *k,
                    unsigned vclass, bool cut, const struct slice **argv, size_t *argc)
{
    const struct slice *a = *argv;
    size_t growth = filter_growth(filter), bytes = 0, n = 0;
    for (size_t i = keys_next(k, 0); i != 0; i = keys_next(k, i))
        bytes += a[i].n + growth;
    to->names.len = to->argv.len = 0;
    to->names.max = (size_t)1 << 30;
    struct slice *out = (struct slice *)(void *)buf_room(&to->argv, (*argc + 1) * sizeof *out);
    if (out == NULL || buf_room(&to->names, bytes + 1) == NULL)
        return false;
    for (size_t i = 0; i < *argc; i++) {
        bool is_key = keys_has(k, i);
        if (is_key && cut && !filter_passes(filter, a[i].p, a[i].n, vclass, db)) {
            i += k->step - 1;
            continue;
        }
        out[n++] = is_key ? filter_name(filter, a[i].p, a[i].n, &to->names) : a[i];
    }
    *argv = out;
    *argc = n;
    return true;
}

/* The other database of MOVE key db, COPY … DB db. False: the command has none. */
static bool other_db(const struct command *c, const struct slice *argv, size_t argc, size_t *at, uint32_t *db)
{
    char text[12];
    *at = command_other_db(c, argv, argc);
    if (*at == 0 || argv[*at].n >= sizeof text)
        return false;
    memcpy(text, argv[*at].p, argv[*at].n);
    text[argv[*at].n] = '\0';
    *db = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

/* None of its keys goes through where they are, but the one that comes into another database would. */
static bool comes_in(const struct filter *filter, const struct command *c, const struct slice *argv,
                     size_t argc, unsigned vclass)
{
    size_t at;
    uint32_t db;
    const struct slice *key = &argv[c->last];
    return other_db(c, argv, argc, &at, &db) && filter_passes(filter, key->p, key->n, vclass, db);
}

/* MOVE key db, COPY … DB db: the database as the target has it. FILTER_DROP: it does not go through, or what
 * are two keys for the source is one for the target. */
static enum filtered map_db_argument(struct renamed *to, const struct filter *filter, uint32_t from,
                                     const struct command *c, struct slice *argv, size_t *argc)
{
    size_t at;
    uint32_t db;
    if (!other_db(c, argv, *argc, &at, &db))
        return FILTER_PASS;
    bool move = strcmp(c->name, "MOVE") == 0;
    if (!filter_db_passes(filter, db)) {
        argv[0] = (struct slice){(const uint8_t *)"DEL", 3};
        *argc = 2;
        return move ? FILTER_PASS : FILTER_DROP;
    }
    const struct slice *a = &argv[1], *b = &argv[c->last];
    bool same = a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
    if (same && db != from && filter_db(filter, db) == filter_db(filter, from))
        return FILTER_DROP;
    argv[at] = (struct slice){to->db, dec_u64(to->db, filter_db(filter, db))};
    return FILTER_PASS;
}

/* RENAME and COPY with only one of the two keys going through; others with some of theirs. What only reads
 * selected keys changes nothing of them. */
static enum filtered two_keys(struct renamed *to, const struct filter *filter, uint32_t db,
                              const struct command *c, const struct keys *keys, unsigned vclass,
                              const struct slice **argv, size_t *argc, const char **detail)
{
    static const struct slice del = {(const uint8_t *)"DEL", 3};
    const struct slice *a = *argv;
    if (keys->dest != 0 && !filter_passes(filter, a[keys->dest].p, a[keys->dest].n, vclass, db))
        return FILTER_DROP;
    bool rename = begins(c->name, "RENAME");
    if (!rename && !begins(c->name, "COPY")) {
        const struct slice *dest = &a[keys->first];
        if (c->action == ACT_TWO_KEYS && !filter_passes(filter, dest->p, dest->n, vclass, db))
            return FILTER_DROP;
        *detail = "it joins keys that are selected with others that are not";
        return FILTER_LOST;
    }
    if (filter_passes(filter, a[2].p, a[2].n, vclass, db)) {
        *detail = "its source is not selected, so the target lacks the value";
        return FILTER_LOST;
    }
    if (!rename)
        return FILTER_DROP;
    struct keys k = {.first = 1, .last = 1, .step = 1};
    size_t n = 2;
    if (!rewrite(to, filter, db, &k, vclass, false, &a, &n))
        return FILTER_DROP;
    ((struct slice *)(void *)to->argv.p)[0] = del; /* it leaves the selected keys */
    *argv = a;
    *argc = 2;
    return FILTER_PASS;
}

enum filtered filter_command(struct renamed *to, const struct filter *filter, uint32_t db,
                             const struct command *c, const struct slice **argv, size_t *argc,
                             const char **detail)
{
    if (c == NULL)
        return filter_db_passes(filter, db) ? FILTER_PASS : FILTER_DROP;
    if (c->action == ACT_FLUSH && filter->keys) {
        *detail = "the source was flushed, but only a selection of its keys is here";
        return filter_db_passes(filter, db) ? FILTER_LOST : FILTER_DROP;
    }
    struct keys k = command_keys(c, *argv, *argc);
    unsigned vclass = c->vclass;
    if (c->action == ACT_RESTORE && *argc > 3 && (*argv)[3].n > 0)
        vclass = value_class((*argv)[3].p[0]);
    bool cut = false;
    if (k.first > 0) {
        size_t all, passing = count_passing(filter, db, &k, *argv, vclass, &all);
        if (passing == 0) {
            *detail = "it comes from a database that is not selected";
            return comes_in(filter, c, *argv, *argc, vclass) ? FILTER_LOST : FILTER_DROP;
        }
        cut = passing < all;
        if (cut && !command_cuttable(c))
            return two_keys(to, filter, db, c, &k, vclass, argv, argc, detail);
    }
    if (command_looks_elsewhere(*argv, *argc) && filter_by_name(filter)) {
        *detail = "patterns of BY and GET may name keys that are not selected, or renamed";
        return FILTER_LOST;
    }
    if (!rewrite(to, filter, db, &k, vclass, cut, argv, argc)) {
        *detail = "too many arguments to rename its keys";
        return FILTER_LOST;
    }
    return map_db_argument(to, filter, db, c, (struct slice *)(void *)to->argv.p, argc);
}
