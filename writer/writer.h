/* The writer as a whole: what its parts share. */
#ifndef RW_WRITER_H
#define RW_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "target/cluster.h"
#include "engine/exact.h"
#include "engine/failures.h"
#include "target/holds.h"
#include "input.h"
#include "target/limit.h"
#include "target/listing.h"
#include "lanes.h"
#include "engine/live.h"
#include "position/marks.h"
#include "target/node.h"
#include "options.h"
#include "outcome.h"
#include "position/positions.h"
#include "engine/probes.h"
#include "position/saved.h"
#include "target/rival.h"
#include "session.h"
#include "engine/splits.h"
#include "summary.h"
#include "target/sweep.h"
#include "target/watch.h"
#include "engine/whole.h"

struct writer {
    struct options opt;
    struct outcome outcome;
    struct node node;
    struct cluster *cluster; /* NULL: not yet */
    struct whole whole;
    struct exact exact;
    struct marks marks;
    uint64_t saved_at; /* mono_us: the position file was written, or looked at */
    uint64_t saved_sum;
    struct buf saved_body; /* of the file, until the marks are written */
    bool ended_quiet;      /* nothing is sent any more, and all that was is done */
    bool saved_over;       /* the run whose positions were read had come to its end */
    const struct tls *tls; /* NULL: plain */
    struct inputs inputs;
    struct session session;
    struct positions positions;
    struct lanes lanes;
    struct live live;
    struct sweep sweep;
    struct holds holds;
    struct listing listing;
    struct probes probes;
    struct stats stats;
    struct failures failures;
    struct limit limit;
    struct watch watch;
    int epoll;
    struct rival_self self; /* whose connections are ours */
    uint64_t rival_since;   /* mono_us: another writer of the task is there; 0: none was seen */
    bool took_over;         /* others' connections were ended (--takeover) */
    char run[33];   /* random: tells this process's position key from that of another with the same session */
    bool was_empty; /* the target held no keys when the first session began */
    bool policy_done;   /* --on-existing was applied */
    unsigned next_lane; /* round robin over queued lanes */
    unsigned next_input;
    unsigned ends; /* END records seen */
    bool signal_noted;
    struct splits splits;
};

/* A request that cannot be carried out: counted, named, logged the first time of its kind, kept with
 * --errors-to; with --strict it ends the session. */
void writer_data_error(struct writer *w, const struct failure *f);

/* Nothing in flight, gathered, refused or on another way. */
bool writer_quiet(const struct writer *w);

#endif
