/* Up to where records of each flow were handed to connections, in FILE.sent beside the file of
 * --position-file: mapped, and written with plain stores, so that it outlives this process however that ends,
 * though not the machine. What lies between the saved position and there may be applied already when a
 * session goes on, is sent again, and named where that makes a difference. rediswriter(1) "Going on".
 *
 * Only for the engine of cluster.h: with transactions that carry the position nothing is applied twice. */
#ifndef RW_SENT_H
#define RW_SENT_H

#include <stdbool.h>
#include <stdint.h>

#include "hashset.h"
#include "record.h"
#include "resp.h"
#include "sent_file.h"

struct writer;

/* What the file of positions says of the session that wrote it. */
struct sent_session {
    char id[SENT_ID];
    bool over; /* everything that it had sent was applied when it was written last */
};

/* A flow in this run. */
struct sent_span {
    uint64_t until; /* what is to be named has a position up to this; 0: nothing, UINT64_MAX: not known */
    uint64_t at;    /* highest position that was handed over */
    bool vague;     /* records without a position were, behind that */
};

struct sent {
    struct sent_session from;        /* as saved_read found it */
    volatile struct sent_file *file; /* NULL: not kept */
    void *map;                       /* the same */
    size_t size;
    struct sent_span *span;
    struct hashset timed; /* keys that were given an expiry again; slot NULL: none */
    uint64_t *head;       /* said before the session began; NULL: nothing was */
    unsigned head_epoch;
};

/* The first request of a session (epoch) is next: begin the file anew. False: the writer has failed. */
bool sent_begin(struct writer *w);

/* dfreader says where the master stands: nothing behind that was sent by a run before. */
void sent_head(struct writer *w, unsigned flow, unsigned epoch, uint64_t pos);

/* Another session: what was said of the one before does not hold. */
void sent_forget(struct writer *w);

/* Do the positions that are applied reach as far as what was sent, in this run and before? */
bool sent_over(const struct writer *w);

/* Everything was reported; close the file. */
void sent_end(struct writer *w);

/* May this live record have been applied by a run before? */
static inline bool sent_repeats(const struct sent *s, const struct rec *r)
{
    if (s->span == NULL || s->span[r->flow].until == 0 || (r->flags & RF_LIVE) == 0)
        return false;
    const struct sent_span *p = &s->span[r->flow];
    return (r->pos > 0 ? r->pos : p->at + 1) <= p->until;
}

/* Name what may have been applied by a run before; see sent_take. */
void sent_name_repeat(struct writer *w, const struct rec *r, const uint8_t *payload, size_t n);

/* A live record is handed over, which is said before its first byte goes out. payload: the request, or its
 * beginning of n bytes, or the program. */
static inline void sent_take(struct writer *w, struct sent *s, const struct rec *r, const uint8_t *payload,
                             size_t n)
{
    if (s->file == NULL || (r->flags & RF_LIVE) == 0)
        return;
    if (sent_repeats(s, r))
        sent_name_repeat(w, r, payload, n);
    struct sent_span *p = &s->span[r->flow];
    volatile struct sent_flow *f = &s->file->flow[r->flow];
    /* Behind one without a position nothing is known until the next that is further than before. */
    p->vague = r->pos == 0 || (p->vague && r->pos <= p->at);
    if (r->pos > p->at)
        p->at = r->pos;
    if (p->at > f->pos)
        f->pos = p->at;
    if (p->until != UINT64_MAX)
        f->vague = p->vague;
}

/* A request that may count twice: counted by its command, named with its key (p NULL: none), and with another
 * one that it writes. */
void sent_name(struct writer *w, unsigned flow, struct slice command, struct slice key, struct slice also);

/* The same of a request of which n bytes are there. */
void sent_name_request(struct writer *w, unsigned flow, const uint8_t *request, size_t n, unsigned keyarg);

#endif
