/* PROBE records (dfrecord(5)): keys that are looked for at the target, in their order among the other
 * requests of their keys. What is not there is told to dfreader, and up to where each flow's were answered.
 *
 * A probe has a number while it is on its way. Whoever carries it says what was answered, and takes leave of
 * it when its request is done with, however that ended: without an answer the key counts as missing, and is
 * read again. */
#ifndef RW_PROBES_H
#define RW_PROBES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

#define PROBES_MAX 8192u

struct probe;

struct probe_count {
    uint64_t keys, again, later, found; /* answered, of this epoch */
};

/* Probes without a question count as answered when those of their flow before them are: dfreader is to know
 * of all keys that are missing by then. A turn ends when all probes that were on their way at its beginning
 * are answered. */
struct probe_order {
    unsigned turn;              /* 0 or 1: that of the probes being put */
    unsigned on_way[2];         /* of each turn; of the one before only while counts wait for it */
    struct probe_count wait[2]; /* for the turn before, and for the one after it */
    bool waits[2];
};

struct live;
struct options;
struct session;

struct probes {
    const struct options *opt;
    const struct session *session;
    struct live *live;
    struct probe *v;              /* PROBES_MAX of them, when the first one comes */
    uint32_t free, waiting, last; /* lists: the first free one; those to be told, and the last of them */
    uint32_t run;                 /* counts the epochs: numbers of one before mean nothing */
    uint32_t now;                 /* of the record that is being put; 0: none */
    unsigned flows, done;
    struct probe_count *count, *told;
    struct probe_order *order;
    uint64_t *flow_done; /* seq of the record that says it is verified; 0: it is not */
    bool refused;        /* the target does not let us ask */
    bool refusal_told;
    char refusal[160];
    bool owed; /* the full sync, of this run or one before, has to be verified, and is not yet */
};

/* An epoch of so many flows begins. */
void probes_begin(struct probes *p, unsigned flows);
void probes_free(struct probes *p);

/* A PROBE record is to go: *request is its request and n its length (0: there is none). Returns NULL, or what
 * is wrong with the record. *wait: there is no room now. */
const char *probes_take(struct probes *p, const struct rec *r, const uint8_t *payload,
                        const uint8_t **request, uint32_t *n, bool *wait);

/* It went, or did not: p->now is in the hands of who carries it, or free again. Returns whether p->owed
 * changed, which is kept with the positions. */
bool probes_taken(struct probes *p, const struct rec *r, const uint8_t *payload, bool went);

/* The reply to a probe; it is done with. */
void probe_answer(struct probes *p, uint32_t number, long long reply);
void probe_done(struct probes *p, uint32_t number);

/* Is the error one that will not pass? */
bool probe_fails(const char *text, size_t len);

/* The target refuses to say. */
void probe_refused(struct probes *p, uint32_t number, const char *text, size_t len);

/* Tell dfreader what there is to tell; live.pending: some of it has to wait. False: dfreader has gone. */
bool probes_tell(struct probes *p);

/* Is the full sync to be verified by a run that resumes where the record of that number was applied in the
 * flow? Until the one that says it is not: what stands in front of it was written for that. */
static inline bool probes_owed(const struct probes *p, unsigned flow, uint64_t seq)
{
    return p->owed || (p->flow_done != NULL && seq < p->flow_done[flow]);
}

/* With the positions it has to be kept whether the full sync is verified. */
static inline bool probes_kept(const struct probes *p)
{
    return p->v != NULL || p->owed;
}

/* Something waits to be told. */
static inline bool probes_wait(const struct probes *p)
{
    return p->waiting != 0;
}

#endif
