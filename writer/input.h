/* Inputs: standard input, files, FIFOs, connections to the listening socket. Each is a stream of records. */
#ifndef RW_INPUT_H
#define RW_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"

struct input {
    struct recin in;
    const char *name;
    bool pollable; /* no regular file */
    bool open;
    bool came;         /* something was read, or it is connected */
    bool armed;        /* epoll watches it */
    bool hungry;       /* needs more bytes for its next record */
    bool finished;     /* its end was seen */
    bool closed;       /* so was its END record */
    bool have;         /* rec and payload hold a record that was not taken yet */
    bool drop;         /* that record is void */
    bool session_seen; /* in the current stream */
    bool target_seen;
    struct rec rec;
    const uint8_t *payload; /* in the buffer of in */
    uint64_t at;            /* offset of rec in the input */
};

struct events;
struct exact;
struct options;
struct outcome;
struct session;
struct target_info;

struct inputs {
    const struct options *opt;
    struct outcome *outcome;
    struct events *events;
    const struct session *session;
    const struct exact *exact; /* --forget: what names its keys, and what the target is */
    const struct target_info *target;
    struct input *v;
    unsigned n;
    unsigned unfinished;
    unsigned named;     /* the first so many are named; the rest come by connection */
    unsigned connected; /* of those, so many have */
    int listen_fd;      /* -1: none */
    bool no_room;       /* the last attempt to accept somebody failed ... */
    uint64_t listen_at; /* mono_us: ... and is made again then; 0: not so */
    uint64_t deadline;  /* mono_us: what has not come by then is dead; 0: all have come */
    uint64_t end_at; /* mono_us: until then an END with an error waits for the other inputs; 0: none does */
};

/* Open what is named, listen where told. False: the run has failed. */
bool inputs_open(struct inputs *i);
void inputs_free(struct inputs *i);

/* A connection waits at the listening socket. */
void inputs_accept(struct inputs *i);

/* epoll says that input number is readable (or at its end). */
void input_ready(struct inputs *i, unsigned number);

/* Read from hungry regular files, watch hungry others. Returns true when a file gave something. */
bool inputs_feed(struct inputs *i);

/* Look for inputs that did not come in time. */
void inputs_check(struct inputs *i, uint64_t now);

/* Make the next record of an input present. False: there is none now (hungry, finished, or the writer
 * failed). */
bool input_next(struct inputs *i, struct input *in);

/* Its record was taken. */
static inline void input_taken(struct input *in)
{
    in->have = false;
}

#endif
