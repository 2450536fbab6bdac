#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"

void loop_init(struct loop *l)
{
    memset(l, 0, sizeof *l);
    l->ep = epoll_create1(EPOLL_CLOEXEC);
    if (l->ep < 0)
        fatal_errno(EXIT_CANNOT, "epoll_create1");
}

void loop_free(struct loop *l)
{
    close(l->ep);
    l->ep = -1;
}

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(l->ep, EPOLL_CTL_ADD, fd, &ev) != 0)
        return -1;
    w->fd = fd;
    return 0;
}

int loop_mod(struct loop *l, struct watch *w, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};
    return epoll_ctl(l->ep, EPOLL_CTL_MOD, w->fd, &ev);
}

void loop_del(struct loop *l, struct watch *w)
{
    if (w->fd < 0)
        return;
    (void)epoll_ctl(l->ep, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
    for (int i = l->at + 1; i < l->n; i++)
        if (l->ev[i].data.ptr == w)
            l->ev[i].data.ptr = NULL;
}

void loop_wait(struct loop *l, int timeout_ms)
{
    int n = epoll_wait(l->ep, l->ev, LOOP_BATCH, timeout_ms);
    if (n < 0 && errno != EINTR)
        fatal_errno(EXIT_CANNOT, "epoll_wait");
    l->n = n < 0 ? 0 : n;
    for (l->at = 0; l->at < l->n; l->at++) {
        struct watch *w = l->ev[l->at].data.ptr;
        if (w != NULL)
            w->ready(w, l->ev[l->at].events);
    }
    l->n = l->at = 0;
}

static volatile sig_atomic_t stops;

static void on_stop(int sig)
{
    (void)sig;
    if (stops < 100 && io_signal_anew())
        stops = stops + 1;
}

void signals_init(void)
{
    /* No SA_RESTART: a signal has to end a connect, an open of a FIFO or epoll_wait. */
    struct sigaction stop = {.sa_handler = on_stop};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) != 0 ||
        (hangup.sa_handler != SIG_IGN && sigaction(SIGHUP, &stop, NULL) != 0))
        fatal_errno(EXIT_CANNOT, "sigaction");
    if (sigaction(SIGINT, &stop, NULL) != 0 || sigaction(SIGTERM, &stop, NULL) != 0 ||
        sigaction(SIGPIPE, &ignore, NULL) != 0)
        fatal_errno(EXIT_CANNOT, "sigaction");
}

unsigned signals_seen(void)
{
    return (unsigned)stops;
}
