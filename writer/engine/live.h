/* The writer's end of the control socket: announcing the target, reporting positions, asking for a new
 * session. dfrecord(5) CONTROL PROTOCOL. */
#ifndef RW_LIVE_H
#define RW_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"

struct writer;

struct live {
    struct ctl ctl; /* fd -1: not connected */
    uint64_t next;  /* mono_us: positions are not looked at before */
    bool pending;   /* something was reached that is not reported yet */
    bool broken;    /* it does not take what it is told */
    bool barrier;   /* dfreader was told that flows wait at a barrier */
};

void live_init(struct live *l);

/* Say hello at path with the session's nonce and announce the target. Returns 0, or -1 when the session is
 * not live (any more). */
int live_connect(struct writer *w, const char *path);

/* Report what flows have newly reached; all of it at once when final. */
void live_report(struct writer *w, uint64_t now, bool final);

/* live_say.c: one line to dfreader, where it is there. That it has gone is noticed by live_report. */
void live_say(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Ask for a new session. Returns 0, or -1 when nobody listens. */
int live_restart(struct writer *w, const char *reason);

/* The socket is readable: limits, or its end. */
void live_receive(struct writer *w);

/* The session is live no more: its dfreader has gone, or goes within a second, which is waited for. Only for
 * inputs that have failed. */
bool live_ended(struct writer *w);

/* Report everything, wait (at most a second) until it is sent, close. */
void live_finish(struct writer *w);

#endif
