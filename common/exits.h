/* Exit statuses, the same in every program. */
#ifndef DF_EXITS_H
#define DF_EXITS_H

#include <errno.h>

enum exit_status {
    EXIT_DONE = 0,
    EXIT_CANNOT = 1,  /* could not run: environment, credentials, refusal */
    EXIT_USAGE = 2,   /* wrong options or arguments */
    EXIT_DATA = 3,    /* ended, with data errors or something that could not be carried over */
    EXIT_DAMAGED = 4, /* input damaged or cut short */
    EXIT_PARTIAL = 5, /* stopped before the full sync was complete */
    EXIT_RETRY = 75,  /* something was lost on the way: retryable */
};

/* The worse of two, which is the less retryable one: usage, could not run, damage, something lost on
 * the way, a partial sync, data errors. One that is none of these (it may stand in a file) counts as "could
 * not run". */
static inline int exit_worse(int a, int b)
{
    static const unsigned char rank_of[6] = {0, 6, 7, 1, 5, 3};
    a = a == EXIT_RETRY || (a >= 0 && a < 6) ? a : EXIT_CANNOT;
    b = b == EXIT_RETRY || (b >= 0 && b < 6) ? b : EXIT_CANNOT;
    int ra = a == EXIT_RETRY ? 4 : rank_of[a];
    int rb = b == EXIT_RETRY ? 4 : rank_of[b];
    return ra >= rb ? a : b;
}

/* What a failure of this machine ends with: descriptors, memory or room on the disk may be there again later,
 * and a retry help then. */
static inline int exit_local(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
    case EAGAIN: return EXIT_RETRY;
    default: return EXIT_CANNOT;
    }
}

#endif
