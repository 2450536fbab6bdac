#include "retry.h"

/* The first retry is immediate, the second after PAUSE; then the pause doubles ... */
#define PAUSE     ((uint64_t)100 * 1000)
#define PAUSE_MAX ((uint64_t)2000 * 1000) /* ... up to this. */

bool retry_failed(struct retry *r, uint64_t now, uint64_t limit)
{
    uint64_t pause = PAUSE;
    if (r->since == 0) {
        *r = (struct retry){.since = now, .next = now};
        return limit > 0;
    }
    for (unsigned i = 0; i < r->tries && pause < PAUSE_MAX; i++)
        pause *= 2;
    r->tries++;
    r->next = now + (pause < PAUSE_MAX ? pause : PAUSE_MAX);
    return now - r->since < limit;
}
