/* What the event loop waits for: who the events of a descriptor are for. */
#ifndef RW_EVENTS_H
#define RW_EVENTS_H

#include <stdint.h>

struct writer;

enum { TAG_CONTROL, TAG_LISTEN, TAG_SIGNAL, TAG_INPUT, TAG_CONN = 0x40000000 };

/* Watch a descriptor (EPOLLIN, EPOLLOUT); a second call changes what is watched for. */
void events_watch(struct writer *w, int fd, uint32_t tag, uint32_t events);
void events_drop(struct writer *w, int fd);

#endif
