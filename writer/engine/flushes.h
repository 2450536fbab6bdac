/* What every master has to be asked or told: the flush of a barrier, a request without a key, and the state
 * of the target before a session's first request. */
#ifndef RW_FLUSHES_H
#define RW_FLUSHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../conn/conn.h"
#include "buf.h"

struct cluster;
struct exact;
struct lanes;
struct marks;
struct masters_share;
struct outcome;
struct positions;
struct saved;
struct stats;

/* Why every master is told something. */
enum purpose {
    EVERYBODY_START,   /* a flush before a session's first request */
    EVERYBODY_BARRIER, /* the flush of a barrier */
    EVERYBODY_RECORD,  /* a record without a key (FUNCTION LOAD) */
};

enum start { START_NONE, START_SURVEY, START_FLUSH, START_READY };

struct flushes {
    struct outcome *outcome;
    struct stats *stats;
    struct positions *positions;
    struct lanes *lanes;
    struct exact *exact;
    struct marks *marks;
    struct saved *saved;
    struct cluster *cl;
    const struct masters_share *share; /* of the session: other slots are not surveyed */

    unsigned asked;     /* replies that are outstanding */
    struct buf request; /* that every master gets */
    uint32_t db;
    enum purpose purpose;
    struct cunit record; /* EVERYBODY_RECORD: whose request it is */
    struct buf refusal;  /* what the first master that refuses it says */
    enum start start;
    bool databases; /* the survey knows which there are */
    bool found;     /* by it: a key of the share that is not ours */
};

void flushes_free(struct flushes *f);

/* Tell every master, which in database db where there are several. */
void flush_everywhere(struct flushes *f, const void *request, size_t n, uint32_t db, enum purpose purpose);

/* A request without a key, which every master gets. Nothing else is on its way (cluster_alone). */
void flushes_record(struct flushes *f, const struct cunit *u, const uint8_t *bytes);

/* Before the first request of a session: what do the masters hold? start becomes START_READY. */
void flushes_survey(struct flushes *f);

/* The flows of this scope stand at a barrier: flush every master, then let them go on. False: something of
 * these flows is on its way. */
bool flushes_barrier(struct flushes *f, int scope);

void flushes_work(struct flushes *f);

#endif
