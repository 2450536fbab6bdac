#include "settle.h"

#include "command/scripts.h"
#include "flow.h"
#include "log.h"

struct settling {
    struct sink *to;
    uint8_t first[20], last[20], shift[20]; /* arguments of the script */
    size_t nfirst, nlast, nshift;
};

static void one(const struct settling *s, uint32_t db, const uint8_t *name, size_t n)
{
    struct sink *to = s->to;
    struct key k;
    struct slice argv[7] = {SLICE("EVAL"),         SLICE(LUA_SETTLE),   SLICE("1"),           {name, n},
                            {s->first, s->nfirst}, {s->last, s->nlast}, {s->shift, s->nshift}};
    key_set(to->e, &k, name, n);
    to->before = to->next_lsn;
    to->next_lsn += 256; /* an offset more: psync.h */
    to->o.db = db;
    to->o.live = true;
    to->o.after = to->o.pos = to->next_lsn;
    entry_begin(&to->o, 0);
    emit_argv(to->e, &to->o, &k, 3, CLASS_NONE, RF_IDEMPOTENT | EMIT_AS_IS, argv, 7);
    entry_end(&to->o);
}

static bool take(void *ctx, uint32_t db, const uint8_t *name, size_t n)
{
    const struct settling *s = ctx;
    const struct late *l = &s->to->e->late;
    one(s, db, name, n);
    for (unsigned i = 0; i < l->nswapped; i++)
        if (l->swapped[i] != db)
            one(s, l->swapped[i], name, n);
    return !s->to->e->failed;
}

int settle_expiries(struct flow *f)
{
    struct sink *to = &f->to;
    struct late *l = &to->e->late;
    struct settling s = {.to = to};
    if (l->count == 0)
        return 0;
    s.nfirst = dec_u64(s.first, l->from + LATE_MS);
    s.nlast = dec_u64(s.last, l->before + LATE_MS);
    s.nshift = dec_u64(s.shift, LATE_MS);
    log_event(LOG_INFO, to->o.flow,
              "event=expiries keys=%llu note=\"their times come, or came, while the file is "
              "read: written now\"",
              (unsigned long long)l->count);
    to->e->stats.extended += l->count;
    int rc = late_each(l, take, &s);
    l->count = 0;
    return rc;
}
