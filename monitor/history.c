#include "history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define MISSED      4      /* seconds */
#define FIRST_BOUND 128e-6 /* seconds */

const char *const history_phases[] = {"-",           "starting",  "full-sync",  "verifying",
                                      "catching-up", "streaming", "restarting", "stopping",
                                      "stopped",     "failed",    NULL};

static const char *const series_names[SERIES_COUNT] = {"keys_per_second",
                                                       "bytes_per_second",
                                                       "entries_per_second",
                                                       "lag_seconds",
                                                       "latency_p50",
                                                       "latency_p99",
                                                       "pipe"};

void history_free(struct history *h)
{
    free(h->value);
    free(h->phase);
    h->value = NULL;
    h->phase = NULL;
    h->newest = h->first = 0;
    memset(h->before, 0, sizeof h->before);
}

static void forget(struct history *h, int64_t t)
{
    unsigned at = (unsigned)(t % HISTORY_SECONDS);
    for (unsigned i = 0; i < SERIES_COUNT; i++)
        h->value[at][i] = NAN;
    h->phase[at] = 0;
}

/* What lies between two samples was not seen. A second or two may be missed where the machine is busy. */
static void advance(struct history *h, int64_t now)
{
    if (h->value == NULL) {
        h->value = xcalloc(HISTORY_SECONDS, sizeof *h->value);
        h->phase = xcalloc(HISTORY_SECONDS, 1);
        h->newest = now - HISTORY_SECONDS;
        h->first = now;
    }
    if (now - h->newest > HISTORY_SECONDS)
        h->newest = now - HISTORY_SECONDS;
    bool near = now - h->newest <= MISSED;
    while (h->newest < now) {
        unsigned from = (unsigned)(h->newest % HISTORY_SECONDS),
                 to = (unsigned)(++h->newest % HISTORY_SECONDS);
        forget(h, h->newest);
        if (!near)
            continue;
        h->phase[to] = h->phase[from];
        memcpy(h->value[to], h->value[from], sizeof h->value[to]);
    }
}

static float number(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return json_is_number(v) ? (float)json_number_value(v) : NAN;
}

static uint8_t phase_of(const json_t *task)
{
    const char *name = json_string_value(json_object_get(task, "phase"));
    for (uint8_t i = 1; name != NULL && history_phases[i] != NULL; i++)
        if (strcmp(name, history_phases[i]) == 0)
            return i;
    return 0;
}

/* The histogram of a writer: how many were below each bound, and all. False: there is none. */
static bool latency_of(const json_t *task, double now[HISTORY_BOUNDS + 1])
{
    const json_t *stage, *all = json_object_get(task, "stages");
    size_t i;
    json_array_foreach(all, i, stage)
    {
        const json_t *below = json_object_get(stage, "latency_below");
        if (json_array_size(below) != HISTORY_BOUNDS)
            continue;
        for (size_t k = 0; k < HISTORY_BOUNDS; k++)
            now[k] = json_number_value(json_array_get(below, k));
        now[HISTORY_BOUNDS] = json_number_value(json_object_get(stage, "latency_count"));
        return true;
    }
    return false;
}

/* The value below which that part of what is new stayed, within its bucket as if evenly spread. */
static float percentile(const double *now, const double *before, double part)
{
    double all = now[HISTORY_BOUNDS] - before[HISTORY_BOUNDS], low = 0, bound = FIRST_BOUND;
    if (all <= 0)
        return NAN;
    for (unsigned k = 0; k < HISTORY_BOUNDS; k++, bound *= 2) {
        double below = now[k] - before[k];
        if (below >= part * all)
            return (float)(bound * (k == 0 ? 1 : 0.5) *
                           (k == 0 || below <= low ? 1 : 1 + (part * all - low) / (below - low)));
        low = below;
    }
    return (float)bound;
}

static void take_latency(struct history *h, const json_t *task, float *value)
{
    double now[HISTORY_BOUNDS + 1];
    if (!latency_of(task, now))
        return;
    if (now[HISTORY_BOUNDS] < h->before[HISTORY_BOUNDS]) /* another writer */
        memset(h->before, 0, sizeof h->before);
    value[SERIES_P50] = percentile(now, h->before, 0.5);
    value[SERIES_P99] = percentile(now, h->before, 0.99);
    memcpy(h->before, now, sizeof now);
}

static float pipe_of(const json_t *task)
{
    const json_t *check, *all = json_object_get(task, "checks");
    size_t i;
    json_array_foreach(all, i, check)
    {
        const char *name = json_string_value(json_object_get(check, "name"));
        if (name != NULL && strcmp(name, "pipes") == 0)
            return number(check, "part");
    }
    return NAN;
}

void history_take(struct history *h, const json_t *task, int64_t now)
{
    if (h->value != NULL && now < h->newest) /* the clock was set back */
        history_free(h);
    advance(h, now);
    float *value = h->value[now % HISTORY_SECONDS];
    h->phase[now % HISTORY_SECONDS] = phase_of(task);
    value[SERIES_KEYS] = number(task, "keys_per_second");
    value[SERIES_BYTES] = number(task, "bytes_per_second");
    value[SERIES_ENTRIES] = number(task, "entries_per_second");
    value[SERIES_LAG] = number(task, "lag_seconds");
    value[SERIES_PIPE] = pipe_of(task);
    take_latency(h, task, value);
}

static json_t *series_json(const struct history *h, unsigned series, int64_t begin)
{
    json_t *list = json_array();
    for (int64_t t = begin; t <= h->newest; t++) {
        double v = (double)h->value[t % HISTORY_SECONDS][series];
        (void)json_array_append_new(list, isnan(v) ? json_null() : json_real(v));
    }
    return list;
}

json_t *history_json(const struct history *h, int64_t since)
{
    json_t *all = json_object(), *names = json_array(), *phase = json_array();
    int64_t begin = h->newest - HISTORY_SECONDS + 1 > since ? h->newest - HISTORY_SECONDS + 1 : since + 1;
    begin = h->first > begin ? h->first : begin;
    for (unsigned i = 0; history_phases[i] != NULL; i++)
        (void)json_array_append_new(names, json_string(history_phases[i]));
    for (int64_t t = begin; h->value != NULL && t <= h->newest; t++)
        (void)json_array_append_new(phase, json_integer(h->phase[t % HISTORY_SECONDS]));
    (void)json_object_set_new(all, "begin", json_integer(begin));
    (void)json_object_set_new(all, "phases", names);
    (void)json_object_set_new(all, "phase", phase);
    for (unsigned i = 0; i < SERIES_COUNT && h->value != NULL; i++)
        (void)json_object_set_new(all, series_names[i], series_json(h, i, begin));
    return all;
}
