#include "slot_names.h"

#include "meta.h"

void slot_names_free(struct slot_names *s)
{
    buf_free(&s->scratch[0]);
    buf_free(&s->scratch[1]);
    buf_free(&s->back);
}

void slot_names_see(struct slot_names *s, uint32_t db)
{
    if (db < SLOT_DBS)
        s->dbs |= UINT64_C(1) << db;
    else
        s->more = true;
}

bool slot_names_taken(struct slot_names *s, uint32_t db, const struct slice *key)
{
    const struct filter *f = s->filter;
    return f != NULL && f->renames.n > 0 && filter_passes(f, key->p, key->n, 0, db) &&
           filter_name_taken(f, key->p, key->n, db, s->scratch);
}

/* The next database of the source, from *at on, that becomes this one. */
static bool next_db(const struct slot_names *s, uint32_t db, uint32_t *at)
{
    while (*at < SLOT_DBS && ((s->dbs >> *at & 1) == 0 || filter_db(s->filter, *at) != db))
        ++*at;
    return *at < SLOT_DBS;
}

bool slot_names_back(struct slot_names *s, uint32_t db, const struct slice *key, uint32_t *at,
                     uint32_t *from_db, struct slice *name)
{
    uint32_t first = 0;
    if (*at > SLOT_DBS)
        return false;
    if (s->filter == NULL) {
        *at = SLOT_DBS + 1;
        *from_db = db;
        *name = *key;
        return true;
    }
    /* One of none that the source has now is removed from whichever it was. */
    bool none = *at == 0 && !next_db(s, db, &first);
    while (none ? *at <= SLOT_DBS : next_db(s, db, at)) {
        *from_db = *at;
        bool known = !none || filter_db_back(s->filter, db, from_db);
        *at = none ? SLOT_DBS + 1 : *at + 1;
        if (known && filter_name_back(s->filter, key->p, key->n, *from_db, &s->back)) {
            *name = (struct slice){s->back.p, s->back.len};
            return true;
        }
    }
    *at = SLOT_DBS + 1;
    return false;
}

bool slot_names_shared(const struct slot_names *s, uint32_t db)
{
    if (s->filter == NULL || !filter_db_shared(s->filter, db))
        return false;
    for (uint32_t i = 0; i < SLOT_DBS; i++)
        if (i != db && (s->dbs >> i & 1) != 0 && filter_db(s->filter, i) == filter_db(s->filter, db))
            return true;
    return s->more;
}

void slot_names_tell(const struct slot_names *s, struct ctl *c, unsigned flow, unsigned epoch)
{
    const struct renames *r = s->filter != NULL ? &s->filter->renames : NULL;
    struct buf b = {.max = 4 * CTL_LINE_MAX};
    for (unsigned i = 0; r != NULL && i < r->n && c->fd >= 0; i++) {
        b.len = 0;
        (void)buf_addf(&b, "rename flow=%u epoch=%u i=%u from=", flow, epoch, i);
        meta_escape(&b, r->rule[i].from, r->rule[i].nfrom, 0);
        (void)buf_addstr(&b, " to=");
        meta_escape(&b, r->rule[i].to, r->rule[i].nto, 0);
        if (ctl_send(c, "%.*s", (int)b.len, (const char *)b.p) < 0)
            ctl_close(c);
    }
    buf_free(&b);
}
