/* The writer as a whole: what its parts share. */
#ifndef RW_WRITER_H
#define RW_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "target/cluster.h"
#include "events.h"
#include "engine/exact.h"
#include "engine/failures.h"
#include "engine/flushes.h"
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
#include "target/policy.h"
#include "position/positions.h"
#include "engine/probes.h"
#include "position/saved.h"
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
    struct cluster *cluster; /* the engine */
    struct whole whole;
    struct exact exact;
    struct marks marks;
    struct saved saved;
    struct policy policy;
    struct events events;
    struct inputs inputs;
    struct session session;
    struct positions positions;
    struct flushes flushes;
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
    char run[33]; /* random: tells this process's position key from that of another with the same session */
    unsigned next_lane; /* round robin over queued lanes */
    unsigned next_input;
    unsigned ends; /* END records seen */
    bool signal_noted;
    struct splits splits;
};

/* The options are there: make the parts known to each other. */
void writer_init(struct writer *w);
void writer_free(struct writer *w);

#endif
