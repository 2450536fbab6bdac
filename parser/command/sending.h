/* The requests that a command becomes, and the positions that they reach. */
#ifndef DFP_SENDING_H
#define DFP_SENDING_H

#include "../emit.h"

/* What a command needs while keys are looked for at the target (check.h). */
enum guard {
    GUARD_NONE,
    GUARD_KEY,    /* its key has to be there, else nothing is done */
    GUARD_SOURCE, /* the first of its two keys, else the second one is removed */
    GUARD_REREAD, /* more than that: what it writes is read again */
};

struct sending {
    struct emit *e;
    struct origin *o;
    struct buf *guarded;    /* arguments and script of a request with a guard */
    uint64_t before, after; /* positions */
    enum guard guard;
};

/* Write one request; argv[keyarg] is its key. It is the entry's only or last one; others of the entry follow.
 */
void send_last(const struct sending *s, unsigned keyarg, const struct slice *argv, size_t argc,
               unsigned flags);
void send_one_of(const struct sending *s, unsigned keyarg, const struct slice *argv, size_t argc,
                 unsigned flags);

/* One without a key, to every server of the target. */
void send_everywhere(const struct sending *s, const struct slice *argv, size_t argc, bool last);

/* No request: its position is reached. The same for what means nothing to the target. */
void send_nothing(const struct sending *s);
void send_ignored(const struct sending *s);

/* Say what is lost of it, or changed on the way: emit_report. */
void send_report(const struct sending *s, bool lost, const char *kind, const struct slice *key,
                 const char *detail);

#endif
