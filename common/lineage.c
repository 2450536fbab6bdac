#include "lineage.h"

#include <string.h>

#include "meta.h"

bool lineage_same(const struct lineage *a, const struct lineage *b)
{
    return strcmp(a->replid, b->replid) == 0 && strcmp(a->top, b->top) == 0;
}

static void add(struct buf *b, const char *name, const char *value, char sep)
{
    if (value[0] != '\0')
        meta_add(b, name, value, strlen(value), sep);
}

void lineage_add(struct buf *b, const struct lineage *l, char sep)
{
    add(b, "replid", l->replid, sep);
    add(b, "lineage", l->top, sep);
}

bool lineage_get(struct lineage *l, const void *text, size_t n)
{
    if (meta_get(text, n, "replid", l->replid, sizeof l->replid) < 0)
        l->replid[0] = '\0';
    if (meta_get(text, n, "lineage", l->top, sizeof l->top) < 0)
        l->top[0] = '\0';
    return l->replid[0] != '\0';
}
