/* The writes of a server, or of all masters of a cluster, held back by CLIENT PAUSE, and how far its stream
 * of changes is. df2redis(1), CUTOVER.
 *
 * A pause ends by itself after its span: what holds it has to say so again and again (hold_renew). So a
 * holder that was killed leaves servers that take writes again. */
#ifndef CHECK_HOLD_H
#define CHECK_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "../side.h"

#define HOLD_SHARDS 1024u

/* What a master says of itself. */
struct hold_look {
    char role[16];
    char replid[2][72]; /* its own, and the one before; "": it has none */
    uint64_t *at;       /* how far its stream is: one number, of a Dragonfly the next LSN of each shard */
    unsigned n;         /* of them */
    uint64_t changes;   /* of its data set since its last snapshot ... */
    uint64_t saved;     /* ... which was then */
    bool knows_changes; /* it counts them */
    uint64_t clients, max_memory, used_memory;
    char address[270];
};

struct hold {
    struct side *side;
    struct hold_look *look; /* one per node */
    bool all;               /* the servers (Redis before 6.2) can only hold everything, reads too */
    bool held;
    uint64_t span;     /* µs */
    uint64_t until;    /* mono_us: until then nobody has let go */
    uint64_t renew_at; /* mono_us */
    unsigned expects;  /* replies of the round of requests that is under way */
    bool lapsed;       /* a renewal came so late that writes may have been let through */
};

/* The side is open, and stays the caller's. */
void hold_init(struct hold *h, struct side *s);
void hold_free(struct hold *h);

/* Ask every master, into h->look. Ends the process, as the next three, when one does not answer, or refuses.
 */
void hold_look(struct hold *h);

/* Hold the writes for so long from now on, and look: what is seen contains every write that was let through.
 * Where h->all, requests of any kind are held, nothing can be asked meanwhile, and there is no way to renew
 * it or to let go. */
void hold_begin(struct hold *h, unsigned ms);

/* Once more for the span. To be called at h->renew_at. */
void hold_renew(struct hold *h);

/* The clients may write again. */
void hold_end(struct hold *h);

/* The same for a process that ends: whatever has happened to one connection, the others are told. Waits only
 * for a moment. */
void hold_drop(struct hold *h);

#endif
