/* What the event loop waits for: who the events of a descriptor are for. */
#ifndef RW_EVENTS_H
#define RW_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct outcome;

struct events {
    int fd; /* of epoll */
    struct outcome *outcome;
};

enum { TAG_CONTROL, TAG_LISTEN, TAG_SIGNAL, TAG_INPUT, TAG_CONN = 0x40000000 };

/* False: there is none, and the run has failed. */
bool events_open(struct events *e);

/* Watch a descriptor (EPOLLIN, EPOLLOUT); a second call changes what is watched for. */
void events_watch(struct events *e, int fd, uint32_t tag, uint32_t events);
void events_drop(struct events *e, int fd);

#endif
