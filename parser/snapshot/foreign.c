/* What a snapshot may hold that nothing here knows, and its end. */
#include "rdb.h"

#include <stdio.h>

enum got rdb_unknown(struct rdb *r, struct cur *c, const char *what, unsigned number)
{
    bool type = *what == 'v';
    const char *more = "of a newer version or of another server, or the bytes are damaged";
    if (type && number == 6)
        more = "of modules in candidates of Redis 4.0, which nobody else can pass over";
    else if (type && r->family == FAMILY_REDIS && (number == 29 || number == 31))
        more = "which stands in no file";
    snprintf(r->foreign, sizeof r->foreign, "%s %u, %s", what, number, more);
    return cur_bad(c, "something known");
}

enum got rdb_not_supported(struct rdb *r, struct cur *c, const char *what)
{
    r->other_kind = true;
    snprintf(r->foreign, sizeof r->foreign, "%s", what);
    return cur_bad(c, what);
}

void rdb_file_end(struct rdb *r)
{
    r->to->synced = true;
    r->stage = STAGE_DONE;
    r->to->o.pos = 0;
    emit_synced(r->to->e, &r->to->o);
}
