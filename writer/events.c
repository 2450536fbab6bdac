#include "events.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "exits.h"
#include "log.h"
#include "writer.h"

void events_watch(struct writer *w, int fd, uint32_t tag, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = tag};
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) == 0)
        return;
    if (errno != EEXIST || epoll_ctl(w->epoll, EPOLL_CTL_MOD, fd, &e) != 0)
        outcome_fail(&w->outcome, EXIT_CANNOT, "event=epoll error=%s",
                     log_quote(strerror(errno), strlen(strerror(errno))));
}

void events_drop(struct writer *w, int fd)
{
    (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, fd, NULL);
}
