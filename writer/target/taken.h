/* Over several connections: a task that was taken over. Whoever ends another writer's connections
 * (--takeover) leaves a key on each master, for a day, and a writer that has to connect again looks for it:
 * the other one may have ended since. A single server has its position key for that (whole.c). */
#ifndef RW_TAKEN_H
#define RW_TAKEN_H

#include <stdbool.h>

struct cluster;
struct hello;

/* Before the first request, after any flush: false: masters still have to confirm the key. */
bool taken_marked(struct cluster *cl);

/* In a handshake: where the key is younger than this process, and another's, the writer fails. */
void taken_look(struct hello *h);

#endif
