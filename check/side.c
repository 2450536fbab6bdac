#include "side.h"

#include <stdlib.h>
#include <string.h>

#include "io.h"

struct link *side_link(struct side *s, uint32_t db, const void *key, size_t n, unsigned turn)
{
    unsigned node = s->cluster ? s->owner[key_slot(key, n)] : 0;
    struct link *l = &s->node[node].links[1 + turn % (s->nlinks - 1)];
    link_select(l, db);
    return l;
}

void side_flush(struct side *s)
{
    for (unsigned i = 0; i < s->nodes; i++)
        for (unsigned k = 0; k < s->nlinks; k++)
            if (s->node[i].links[k].out.len > 0)
                link_flush(&s->node[i].links[k]);
}

void side_check(const struct side *s, uint64_t now, uint64_t silence)
{
    for (unsigned i = 0; i < s->nodes; i++)
        for (unsigned k = 0; k < s->nlinks; k++)
            link_check(&s->node[i].links[k], now, silence);
}

bool side_allow(const struct side *s, uint64_t now)
{
    return s->o->max_ops == 0 || now >= s->allowed_at;
}

void side_count(struct side *s, uint64_t now, uint64_t n)
{
    if (s->o->max_ops == 0)
        return;
    if (s->allowed_at < now)
        s->allowed_at = now;
    s->allowed_at += n * 1000000 / s->o->max_ops;
}

uint64_t side_bytes(const struct side *s)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->nodes; i++)
        for (unsigned k = 0; k < s->nlinks; k++)
            sum += s->node[i].links[k].bytes;
    return sum;
}

const struct side_db *side_find_db(const struct side *s, uint32_t db)
{
    for (unsigned i = 0; i < s->dbs; i++)
        if (s->db[i].db == db)
            return &s->db[i];
    return NULL;
}

void side_close(struct side *s)
{
    for (unsigned i = 0; i < s->nodes; i++) {
        for (unsigned k = 0; k < s->nlinks; k++)
            link_close(&s->node[i].links[k]);
        free(s->node[i].links);
    }
    free(s->node);
    s->node = NULL;
    s->nodes = 0;
}
