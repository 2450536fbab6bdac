/* A single server over one connection: one scope, which is all of it. Its position key df2redis:{TASK} lies
 * in database 0 and is written in the transactions of what it counts. Its fields:
 *
 *   session   whose positions these are (position_text.h); without it the key says nothing
 *   writer    the process that wrote it
 *   source, empty, sweep, verify: of the session
 *   f<flow>   EPOCH SEQ POSITION of the last record of the flow that was carried out
 *             and where the last ones had no effect, the position behind the last that had one
 *   a<flow>   EPOCH POSITION N STEP HELD: the last record of the flow that was carried out
 *             as in the hash of a slot (exact.h), where that is beyond the POSITION of f<flow>
 *   l<flow>   its lineage, where it has one of its own
 *   s<flow>   the hash slots of the source that it holds (holds.h)
 *
 *   whole.c            the key as requests of our own write it, and what is due
 *   whole_key.c        what it says, before a session and after a loss
 *   whole_position.c   the position that goes with a transaction
 */
#ifndef RW_WHOLE_H
#define RW_WHOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "../position/position_text.h"
#include "bundle.h"
#include "put.h"
#include "record.h"
#include "slotset.h"

struct bundle;
struct cluster;
struct cnode;
struct hello;

#define WHOLE_EVERY     ((uint64_t)1000000) /* us between two writes of positions that came without requests */
#define WHOLE_HOLDS_MAX ((size_t)SLOTSET_TEXT + 64) /* what one of them takes at most */

/* What goes into the key, or was said there, of a flow. */
struct whole_flow {
    uint64_t seq, pos;     /* being written */
    uint64_t quiet;        /* being written; 0, or not below pos: not known */
    struct exact_id id;    /* being written; pos 0: nothing */
    struct exact_id place; /* the last that was carried out */
    uint64_t stamp;        /* of the position that names it */
    uint64_t there;        /* the key's seq, at the last handshake */
    bool held;             /* what it holds goes with it */
};

enum whole_step { WHOLE_NOT_YET, WHOLE_ASKED, WHOLE_KNOWN };

struct exact;
struct holds;
struct lanes;
struct options;
struct outcome;
struct policy;
struct positions;
struct probes;
struct session;
struct stats;
struct sweep;
struct watch;

struct whole {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    const struct session *session;
    const struct policy *policy;
    const struct probes *probes;
    const struct sweep *sweep;
    const struct exact *exact;
    struct positions *positions;
    struct holds *holds;
    struct lanes *lanes;
    struct watch *watch;
    struct cluster *cl;
    const char *run; /* names this process */

    bool dirty;         /* applied positions are newer than the key */
    bool save_now;      /* it is to be written at once */
    bool saving;        /* that is under way */
    uint64_t saved_at;  /* mono_us */
    uint64_t confirmed; /* units of the snapshot, in this session */

    struct whole_flow *flow;
    unsigned flows;
    int scope;      /* of the flush that is under way (lanes.h) */
    uint64_t stamp; /* of the last position */
    size_t room;    /* for what flows hold, of the one being made */
    bool there;     /* at the last handshake: the key, with a session; */
    bool ours;      /* of this session and epoch, and this process */

    enum whole_step read; /* of the key, before a session */
    struct saved_vector saved;
    char said_session[POSITION_TEXT], said_source[280]; /* in it */

    enum whole_step begun, swept, dropped, renamed;
    unsigned renaming;   /* flow that renamed belongs to: others wait until it has gone on */
    struct lineage name; /* the lineage that is written for it */
};

void whole_free(struct whole *x);

/* An epoch begins. */
void whole_epoch(struct whole *x, unsigned flows);

/* What the key says: x->saved, session, source. False: not known yet, or the run has failed. */
bool whole_read(struct whole *x);

/* Write the key of a session that begins. PUT_WAIT: it is under way. */
enum put whole_begin(struct whole *x);

/* Write the lineage of a flow that has another one from here on. PUT_WAIT: it is under way. */
enum put whole_rename(struct whole *x, unsigned flow, const struct lineage *own);

/* Its full sync was swept; its file has come to its end, and leaves no key behind. False: it is under way. */
bool whole_swept(struct whole *x);
bool whole_drop(struct whole *x);

/* Field a<flow> of it. Returns the length. */
size_t whole_place_print(unsigned epoch, const struct exact_id *id, char text[POSITION_TEXT]);

/* In a handshake: before other connections of the task are ended, and behind that. */
void whole_hello(struct whole *x, struct hello *h);
void whole_last(struct whole *x, struct hello *h);

/* The position key, for transactions: key is the struct whole. */
extern const struct store whole_store;

/* The position of one record of a flow, which stands there in it, appended to b: how many fields of flows
 * that are; what the reply to it says; was it carried out, says the handshake? */
unsigned whole_position_of(struct whole *x, struct buf *b, const struct rec *r, const struct exact_id *id);
void whole_written(void *key, const struct cnode *node, unsigned fields, long long added);
bool whole_has_record(const struct whole *x, unsigned flow, uint64_t seq);

/* A position, or the end of a flow's full sync. */
void whole_take(struct whole *x, const struct rec *r);

/* What to do where the key confines (cluster.h): for messages. */
#define WHOLE_CONFINED "give rediswriter --position-file (with sentinels --at-least-once)"

/* Can this be done in a transaction with the key? Without SELECT and flushes in it only what is in database
 * 0, and no flush. False: the run has failed. */
bool whole_reaches(struct whole *x, const struct rec *r);

/* The flows of this scope stand at a flush, and nothing is on its way. */
void whole_barrier(struct whole *x, int scope);

void whole_work(struct whole *x, uint64_t now);
int whole_timeout(const struct whole *x, uint64_t now);

#endif
