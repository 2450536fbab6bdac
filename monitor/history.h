/* The last hour of a task, a sample a second, for the charts of the page. */
#ifndef MONITOR_HISTORY_H
#define MONITOR_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_SECONDS 3600

/* What is kept; NaN: not known. */
enum series {
    SERIES_KEYS,
    SERIES_BYTES,
    SERIES_ENTRIES,
    SERIES_LAG,
    SERIES_P50,
    SERIES_P99,
    SERIES_PIPE,
    SERIES_COUNT
};

#define HISTORY_BOUNDS 20 /* of a latency histogram: 2^7 to 2^26 microseconds */

struct history {
    int64_t newest; /* Unix time of the last sample; 0: none */
    int64_t first;  /* of the first that ever was taken */
    float (*value)[SERIES_COUNT];
    uint8_t *phase;                    /* index of history_phases */
    double before[HISTORY_BOUNDS + 1]; /* the histogram at the sample before; last: all */
};

extern const char *const history_phases[]; /* ends with NULL */

void history_free(struct history *h);

/* Take a sample of a task's status, at Unix time now; a second time within a second replaces the first. */
void history_take(struct history *h, const json_t *task, int64_t now);

/* Samples behind Unix time since, as arrays: {"begin", "phases", "phase": […], "keys_per_second": […], …}.
 * The caller gets a new reference. */
json_t *history_json(const struct history *h, int64_t since);

#endif
