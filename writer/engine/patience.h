/* A server that refuses for the moment (LOADING, OOM and the like) or is not there: how long until the next
 * try, and what is said meanwhile. Pauses grow from 50 ms to 2 s, each by a quarter shorter or longer than
 * that. */
#ifndef RW_PATIENCE_H
#define RW_PATIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAY_EVERY ((uint64_t)10000000) /* us between messages about what goes on */

struct patience {
    uint64_t until; /* mono_us: nothing is sent before; 0: no pause */
    unsigned ms;    /* the last pause */
    uint64_t since; /* mono_us of the first of a row of refusals; 0: none */
    uint64_t said;  /* mono_us of the last message */
    char why[100];  /* the last refusal */
};

/* The pause, in ms, that follows one of ms (0: the first). */
unsigned patience_longer(unsigned ms);

/* When a pause of about ms that begins now is over. */
uint64_t patience_end(unsigned ms, uint64_t now);

/* Is it time for a message about a row of refusals? */
bool patience_says(const struct patience *p, uint64_t now);

/* One more refusal: text are the server's words, node its name where there are several (else NULL), what the
 * request (named_text). */
void patience_refused(struct patience *p, const char *node, const char *what, const char *text, size_t len,
                      uint64_t now);

/* Something succeeded: the row is over, unless a pause has begun since it was sent. */
void patience_over(struct patience *p, const char *node);

#endif
