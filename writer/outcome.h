/* How the run ends: what has gone wrong so far, and what is not begun any more because of it. */
#ifndef RW_OUTCOME_H
#define RW_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

struct outcome {
    int status;         /* worst so far */
    bool failed;        /* nothing new is begun; what is in flight is finished */
    uint64_t failed_at; /* mono_us */
    bool dead;          /* nothing more is sent to the target, and what it answers does not count */
    bool lost_data;     /* a target may not have what it confirmed */
    bool stopped;       /* an END record of this session said reason=stop */
};

/* Something makes going on impossible: log it, remember the status, begin nothing new. */
void outcome_fail(struct outcome *o, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same where nothing in flight can be finished either: the target refuses everything, or is lost. */
void outcome_give_up(struct outcome *o, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same as outcome_fail, without a message: another stage has said it. */
void outcome_failed(struct outcome *o, int status);

#endif
