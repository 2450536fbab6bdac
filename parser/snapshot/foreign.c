/* What a snapshot may hold that nothing here knows, and its end. */
#include "rdb.h"

#include <stdio.h>

#include "../command/aof.h"
#include "psync.h"

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

void rdb_append_only(struct rdb *r)
{
    struct sink *to = r->to;
    r->aof->on = true;
    r->psync = r->aof->psync;
    r->psync->file = &r->aof->hooks;
    psync_begin(r->psync, to, psync_position(0, 0));
    to->dialect = dialect_redis();
    to->rereads = NULL; /* there is nobody to ask */
    to->o.journal = true;
    late_begin(&to->e->late, to->e->now_ms, aof_wait_ms(r->aof));
}

void rdb_file_end(struct rdb *r)
{
    bool more = r->aof != NULL && r->aof->on;
    r->to->cut |= more;
    r->to->synced = true;
    r->stage = more ? STAGE_JOURNAL : STAGE_DONE;
    if (more)
        psync_select(r->psync, 0);
    r->to->o.live = more;
    r->to->o.pos = more ? sink_below(r->to, r->to->next_lsn) : 0;
    emit_synced(r->to->e, &r->to->o);
}
