/* Verifying: after a full sync of a Dragonfly master every key that it has is looked for at the target: SCAN
 * here, CHECK records in the stream, EXISTS by the writer, and what is missing there is read again, until a
 * pass over all keys finds none. dfreader(1) "Verifying"; dfrecord(5) CHECK, PROBE. */
#ifndef READER_VERIFY_H
#define READER_VERIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"
#include "handshake.h"
#include "scan.h"

#define VERIFY_WINDOW  8192u /* keys that were asked for and are not answered */
#define VERIFY_AGAIN   256u  /* keys that are being read again */
#define VERIFY_MISSING 65536u
#define VERIFY_PASSES  20u

struct session;
struct peer;
struct missing;

enum verify_state {
    VERIFY_OFF,    /* not needed */
    VERIFY_NEEDED, /* once the full sync is complete */
    VERIFY_RUNS,
    VERIFY_ENDS, /* every key was found; commands may have missed theirs on their way to the target */
    VERIFY_DONE,
    VERIFY_FAILED, /* it could not be carried out: said in the log and an alarm */
};

/* What a writer said of a flow, or what the stream has of it. */
struct verify_count {
    uint64_t keys;  /* of a pass */
    uint64_t again; /* read again, and asked for once more */
    uint64_t later; /* the same, of those that dfparse had looked for */
    uint64_t found; /* of these, those that are there now */
};

struct verify {
    struct session *session; /* NULL: nothing is verified here */
    enum verify_state state;
    struct verify_count *asked; /* of each flow */
    struct scan scan;

    STAILQ_HEAD(, missing) missing; /* at the target: to be read again */
    unsigned nmissing, nown;        /* nown: of which dfparse had so many looked for */

    bool closes; /* of VERIFY_ENDS the second half: nothing that is missing can be told any more */
    unsigned pass;
    uint64_t pass_keys, pass_found; /* pass_found: at its beginning */
    uint64_t lost, overflow, unnamed;
};

/* like: a connection to the master. */
void verify_init(struct verify *v, struct session *s, const struct conn *like);

/* A session begins, or all ends: everything of the one before is dropped. */
void verify_reset(struct verify *v);

/* The master is known by its handshake, and a full sync follows. */
void verify_full_sync(struct verify *v, const struct handshake *h);

/* The session goes on, and its writer says that an earlier one was not verified to its end. */
void verify_owed(struct verify *v);

/* All FLOW records are written: say in each flow's stream that it will be verified, if it will be. */
void verify_flows(struct verify *v);

/* All flows are synced. True: it runs now, until v->state says that it is over. */
bool verify_start(struct verify *v);

/* Whatever can be done. True: there is more to do at once. */
bool verify_work(struct verify *v);

/* Milliseconds until verify_work wants to be called, at most most. */
int verify_timeout(const struct verify *v, int most);

/* A line of a writer: missing, probed, unprobed. */
void verify_line(struct verify *v, struct peer *p, const char *line);

/* For the status: how far the keys are verified; nothing where the master needs none of it. */
void verify_fields(const struct verify *v, struct buf *b);

static inline bool verify_runs(const struct verify *v)
{
    return v->state == VERIFY_RUNS || v->state == VERIFY_ENDS;
}

#endif
