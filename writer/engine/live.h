/* The writer's end of the control socket: announcing the target, reporting positions, asking for a new
 * session. dfrecord(5) CONTROL PROTOCOL. */
#ifndef RW_LIVE_H
#define RW_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"

struct cluster;
struct events;
struct holds;
struct lanes;
struct limit;
struct listing;
struct options;
struct outcome;
struct positions;
struct probes;
struct session;

struct live {
    struct events *events;
    struct outcome *outcome;
    const struct options *opt;
    const struct cluster *cl;
    const struct session *session;
    const struct lanes *lanes;
    struct positions *positions; /* reported */
    struct probes *probes;       /* told */
    struct holds *holds;
    struct limit *limit; /* set by dfreader */
    struct listing *listing;
    struct ctl ctl; /* fd -1: not connected */
    uint64_t next;  /* mono_us: positions are not looked at before */
    bool pending;   /* something was reached that is not reported yet */
    bool broken;    /* it does not take what it is told */
    bool barrier;   /* dfreader was told that flows wait at a barrier */
};

void live_init(struct live *l);

/* Say hello at path with the session's nonce and announce the target (target_announce). Returns 0, or -1 when
 * the session is not live (any more). */
int live_connect(struct live *l, const char *path, const char *announce);

/* Report what flows have newly reached; all of it at once when final. */
void live_report(struct live *l, uint64_t now, bool final);

/* live_say.c: one line to dfreader, where it is there. That it has gone is noticed by live_report. */
void live_say(struct live *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Ask for a new session. Returns 0, or -1 when nobody listens. */
int live_restart(struct live *l, const char *reason);

/* The socket is readable: limits, or its end. */
void live_receive(struct live *l);

/* The session is live no more: its dfreader has gone, or goes within a second, which is waited for. Only for
 * inputs that have failed. */
bool live_ended(struct live *l);

/* Report everything, wait (at most a second) until it is sent, close. */
void live_finish(struct live *l);

#endif
