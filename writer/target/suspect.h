/* A request at which the target closes the connection, or which it never answers. Which of many it is shows
 * when they go one by one: from the second loss in a row on. After the third it is a data error, and is not
 * sent again. */
#ifndef RW_SUSPECT_H
#define RW_SUSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cluster;

#define SUSPECT_AFTER 2u /* losses in a row: from then on one by one */
#define SUSPECT_LOST  3u /* losses in a row, */
#define SUSPECT_ALONE 2u /* of these, with nothing else in flight: it is the request */
#define SUSPECT_ROW   8u /* requests found so with nothing confirmed between: it is the target */

/* What the data error says; why: how the connection was lost. */
#define SUSPECT_TEXT "ERR the connection is lost whenever this request is sent"
const char *suspect_text(const char *why);
bool suspect_is(const char *text, size_t len);

/* One more request was given up. False: so many in a row that it is the target, and the run has failed. */
bool suspect_found(struct cluster *cl);

/* ---- of several connections ---- */

/* What a request of a cluster has been through: it is sent alone when it was lost twice, and given up when
 * that shows it to be the reason. Redirects have an end, too; what is refused for long is named. */
struct plight {
    uint64_t since;      /* mono_us of the first of a row of refusals; 0: none */
    uint8_t redirected;  /* the row is one of redirects */
    uint8_t lost, alone; /* connections; of these, with nothing else in flight */
};

struct line;

static inline bool plight_alone(const struct plight *p)
{
    return p->lost >= SUSPECT_AFTER;
}

static inline bool plight_hopeless(const struct plight *p)
{
    return p->lost >= SUSPECT_LOST && p->alone >= SUSPECT_ALONE;
}

/* Its connection was lost with it. */
void plight_lost(struct plight *p, const struct line *l);

/* A request for a message: n bytes of it are there, it has bytes in all. */
struct named {
    const uint8_t *request;
    size_t n;
    unsigned keyarg;
    uint64_t bytes;
};

/* It was refused: text are the server's words. */
void plight_refused(struct cluster *cl, struct plight *p, const struct named *what, const char *text,
                    size_t len);

/* " command=... key=... bytes=..." for a message; NULL: nothing. */
const char *named_text(const struct named *what);

#endif
