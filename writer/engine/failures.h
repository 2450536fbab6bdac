/* Requests that cannot be carried out: each is counted and named and, with --errors-to, kept as a command
 * stream that rediswriter replays once the cause is mended. dfrecord(5). */
#ifndef RW_FAILURES_H
#define RW_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect.h"
#include "record.h"

/* One of them, as well as it is known. What is kept is big, or payload, or request, the first that is there.
 */
struct failure {
    const char *text; /* why: the target's words */
    size_t len;
    struct rec r;           /* flow, db, slot, hash, keyarg, class, flags, time; type 0: REC_REQUEST */
    const uint8_t *request; /* as much of it as there is: names the command and the key */
    size_t n;
    const uint8_t *payload; /* of a PROGRAM record */
    size_t payload_n;
    const struct big *big;
    bool gone;  /* it is not there to be kept, or must not be repeated later (a flush) */
    bool split; /* the key failed from its first part on: FIRST and LAST stay */
};

struct options;
struct outcome;
struct stats;

struct failures {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    struct recout out;
    uint64_t seq;
    uint64_t kept;
    bool open;         /* a stream of ours is in the file */
    bool target_there; /* the TARGET record of our stream is that of the input */
    struct buf target; /* text of the input's TARGET record */
};

/* Is the file of --errors-to one that can be appended to? False: the run has failed. Nothing is created.
 */
bool failures_check(struct failures *k);

/* The TARGET record that the requests which follow were made for. */
void failures_target(struct failures *k, const uint8_t *text, size_t n);

/* A request that cannot be carried out: counted, named, logged the first time of its kind, kept with
 * --errors-to (its words stand in a REPORT record before it); with --strict it ends the session. */
void failures_add(struct failures *k, const struct failure *f);

/* The last of a key whose requests were kept, from the first on, is no request. */
void failures_last(struct failures *k, const struct rec *r);

/* The end: complete the stream, if there is one. */
void failures_end(struct failures *k);

#endif
