/* How far each flow has been applied. Works when units are confirmed out of order (several connections): a
 * position counts once every unit before it has been confirmed. df2redis(7), Order and positions. */
#ifndef RW_POSITIONS_H
#define RW_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

struct rec;

/* Up to where records of a flow reach. A record of type POSITION has no effect at the target, all others may
 * have one. */
struct upto {
    uint64_t seq, pos; /* of the last record; pos 0: no position yet */
    uint64_t quiet;    /* position behind the last effect, 0: there was none */
    bool acted;        /* an effect behind pos: the next position is behind it */
};

/* A record of a flow that is on its way, or a run of positions behind it. */
struct mark {
    struct upto to;
    bool done;
};

struct flowpos {
    struct mark *mark; /* ring of cap entries (a power of two), oldest at head */
    uint32_t head, n, cap;
    uint64_t first;       /* how many marks came before the one at head */
    uint32_t snapshot;    /* snapshot records that are on their way to the target */
    uint64_t seq, pos;    /* applied */
    uint64_t quiet;       /* between it and pos nothing had an effect; 0: not known */
    bool acted;           /* an effect behind pos has been applied */
    uint64_t saved_seq;   /* highest that is known to stand in the target's position key */
    uint64_t reported;    /* position last told to dfreader */
    uint64_t reported_at; /* mono_us */
    bool synced;          /* SYNCED has been applied */
    uint64_t synced_seq;  /* seq of the SYNCED record that was passed; 0: none yet */
};

struct positions {
    struct flowpos *flow;
    unsigned n;
};

void positions_init(struct positions *p, unsigned flows);
void positions_free(struct positions *p);

static inline void positions_snapshot_add(struct positions *p, unsigned flow)
{
    p->flow[flow].snapshot++;
}

static inline void positions_snapshot_done(struct positions *p, unsigned flow)
{
    p->flow[flow].snapshot--;
}

/* A record is on its way; records are confirmed in any order. Returns the mark's number, which is what
 * positions_mark_done wants. done: it needs no confirmation itself. */
uint64_t positions_mark(struct positions *p, const struct rec *r, bool done);
void positions_mark_done(struct positions *p, unsigned flow, uint64_t mark);

/* A record that needs no confirmation: applied at once if nothing is outstanding. False: it needs
 * a mark. */
bool positions_pass(struct positions *p, const struct rec *r);

/* The flow's quiet position where it is another than the applied one, and known; else 0. */
static inline uint64_t positions_quiet(const struct flowpos *f)
{
    return f->quiet < f->pos && !f->acted ? f->quiet : 0;
}

/* Every flow has been applied past its SYNCED record, and the target's position key says so. */
bool positions_all_saved_synced(const struct positions *p);

/* Every flow has been applied past its SYNCED record. */
bool positions_all_synced(const struct positions *p);

#endif
