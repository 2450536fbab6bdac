/* The event loop: inputs, target, control socket, timers. */
#ifndef RW_LOOP_H
#define RW_LOOP_H

#include <stdint.h>

struct writer;

enum { TAG_NODE, TAG_CONTROL, TAG_LISTEN, TAG_SIGNAL, TAG_INPUT, TAG_CONN = 0x40000000 };

/* Watch a descriptor (EPOLLIN, EPOLLOUT); a second call changes what is watched for. */
void loop_watch(struct writer *w, int fd, uint32_t tag, uint32_t events);
void loop_drop(struct writer *w, int fd);

/* Apply all records of all inputs. Returns when everything is confirmed, or the writer has failed and what
 * was in flight is finished (or 1.5 s have passed). */
void loop_run(struct writer *w);

#endif
