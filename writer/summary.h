/* What was done: counters, latency of live records, and the summary at the end. */
#ifndef RW_SUMMARY_H
#define RW_SUMMARY_H

#include <stdint.h>

#include "engine/errors.h"
#include "record.h"

struct options;
struct positions;

#define LAT_BUCKETS 256 /* eight to a doubling of microseconds */

struct stats {
    uint64_t started;   /* mono_us */
    uint64_t records;   /* read */
    uint64_t bytes_in;  /* of their payloads */
    uint64_t requests;  /* confirmed by the target */
    uint64_t bytes_out; /* written to the target */
    uint64_t keys[CLASS_COUNT];
    uint64_t live; /* live requests confirmed */
    uint64_t msets;
    uint64_t groups;
    uint64_t retries; /* units sent again after a refusal */
    uint64_t reconnects;
    uint64_t already;   /* records that an earlier process had carried out */
    uint64_t uncertain; /* requests known to be applied whose replies were lost */
    uint64_t dropped;   /* records of a session that was begun anew */
    uint64_t barriers;
    uint64_t redirects; /* MOVED and ASK followed */
    uint64_t swept;     /* keys removed that the source does not have any more */
    uint64_t programs;  /* requests over several slots carried out */
    uint64_t big;       /* requests collected from several records */
    uint64_t lost;      /* REPORT records with lost=1 */
    uint64_t evicted;   /* keys that the target removed to make room */
    struct kinds errors;
    struct kinds refusals; /* replies that sent a request another way, or back for a while */
    struct kinds reports;
    struct kinds doubtful; /* requests that may have been carried out twice */
    uint64_t latency[LAT_BUCKETS];
    uint64_t latency_n, latency_max;
};

/* A live record that came to dfreader at time (Unix epoch, us; 0: not known) is applied at now. */
void stats_latency(struct stats *s, uint64_t time, uint64_t now);

/* What the summary tells. */
struct told {
    int status;
    unsigned epoch;
    uint64_t spill_peak; /* bytes */
    const struct stats *stats;
    const struct positions *positions;
};

/* The summary: lines on stderr (unless quiet) and JSON in the file of --summary. Returns 0, or -1 with errno
 * when that file cannot be written. */
int summary_write(const struct options *opt, const struct told *t);

#endif
