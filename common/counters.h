/* What a stage counts, and how it reports that: one line of name=value pairs a second over the control
 * socket, message "counters" of dfrecord(5). Names of times end in _us, of amounts of memory in _bytes; what
 * may also shrink (a gauge) is named in dfrecord(5). */
#ifndef DF_COUNTERS_H
#define DF_COUNTERS_H

#include <stdint.h>

#include "buf.h"

#define COUNTERS_EVERY ((uint64_t)1000000) /* us between two lines */
#define COUNTERS_MAX   4000                /* bytes of a line */

/* Microseconds that a stage waited: for its input, and for the reader of its output. */
struct waited {
    uint64_t input, output;
};

#define HISTOGRAM_BUCKETS 256 /* eight to a doubling of microseconds */

struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS];
    uint64_t n, sum, max;
};

void histogram_add(struct histogram *h, uint64_t us);

/* The value below which permille of all stayed; 0 of none. */
uint64_t histogram_percentile(const struct histogram *h, unsigned permille);

/* How many were below 2^power microseconds; power from 3 to 30. */
uint64_t histogram_below(const struct histogram *h, unsigned power);

/* Bounds that are published: 2^7 (0.128 ms) to 2^26 (67 s). */
#define HISTOGRAM_FIRST 7
#define HISTOGRAM_LAST  26

/* A line for buf; flow -1: of all. Each call adds pairs, and none that would make the line longer than
 * COUNTERS_MAX. */
void counters_begin(struct buf *b, const char *stage, int flow);
void counters_add(struct buf *b, const char *name, uint64_t value);
void counters_waited(struct buf *b, const struct waited *w);

/* The keys of each class, where there are any: keys.string and so on; keys: of all. */
void counters_keys(struct buf *b, const uint64_t *keys);

/* How full a pipe or socket is: NAME_bytes, NAME_size_bytes; nothing of another descriptor. */
void counters_channel(struct buf *b, const char *name, int fd);

/* NAME_count, NAME_sum_us, and NAME_below: the numbers of histogram_below, separated by commas. */
void counters_histogram(struct buf *b, const char *name, const struct histogram *h);

/* Memory and processor time of this process. */
void counters_process(struct buf *b);

#endif
