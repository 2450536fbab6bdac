#include "events.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "exits.h"
#include "log.h"
#include "outcome.h"

static void fails(struct events *e)
{
    outcome_fail(e->outcome, EXIT_CANNOT, "event=epoll error=%s",
                 log_quote(strerror(errno), strlen(strerror(errno))));
}

bool events_open(struct events *e)
{
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->fd < 0)
        fails(e);
    return e->fd >= 0;
}

void events_watch(struct events *e, int fd, uint32_t tag, uint32_t events)
{
    struct epoll_event what = {.events = events, .data.u32 = tag};
    if (epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &what) == 0)
        return;
    if (errno != EEXIST || epoll_ctl(e->fd, EPOLL_CTL_MOD, fd, &what) != 0)
        fails(e);
}

void events_drop(struct events *e, int fd)
{
    (void)epoll_ctl(e->fd, EPOLL_CTL_DEL, fd, NULL);
}
