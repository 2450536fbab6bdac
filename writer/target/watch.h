/* What an operator has to know at once: keys that the target evicts, and whether the target takes anything.
 * It is said to dfreader, which shows it in its status: dfrecord(5), message "health". */
#ifndef RW_WATCH_H
#define RW_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct line;
struct cnode;

/* Keys that a server has evicted. */
struct evictions {
    bool known;
    uint64_t last;          /* its counter, last seen */
    uint64_t counted;       /* since we are there, over its restarts */
    uint64_t memory, limit; /* bytes that it uses, and may use; limit 0: no limit, or not known */
};

struct live;
struct nodes;
struct options;
struct outcome;
struct session;
struct stats;

struct watch {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    struct live *live;
    const struct session *session;
    struct nodes *nodes;
    uint64_t next;                       /* mono_us: the counters of the target are asked for again */
    uint64_t said_at;                    /* mono_us of the last look at what dfreader has to know */
    uint64_t sent_at;                    /* mono_us of the last message to it */
    uint64_t requests;                   /* confirmed then */
    char said[400];                      /* it */
    uint64_t ending;                     /* mono_us of the last look; 0: not yet */
    const char *vanished;                /* a position key has; NULL: no */
    const struct evictions *vanished_at; /* of its server */
    bool told_policy, told_evicted;
};

/* A connection to the target says hello: ask for the node's counters before anything is written
 * there. */
void watch_conn(struct watch *x, struct line *l);

/* Ask for counters, and tell dfreader how the target is, as far as either is due. */
void watch_work(struct watch *x, uint64_t now);

/* A position key that was there has vanished from node; reason: constant. The
 * target's counters tell whether it was evicted: if not, the writer fails. */
void watch_vanished(struct watch *x, const struct cnode *node, const char *reason);

/* Everything is confirmed: have a last look. False: its reply is still to come. */
bool watch_finished(struct watch *x);

/* Milliseconds until watch_work has to be called. */
int watch_timeout(const struct watch *x, uint64_t now);

#endif
