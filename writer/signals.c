#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>

#include "io.h"

static volatile sig_atomic_t signals;
static int wake_fd = -1; /* readable after a signal: a wait that begins after the look at it ends at once */

static void on_signal(int sig)
{
    int error = errno;
    (void)sig;
    if (io_signal_anew())
        signals++;
    (void)eventfd_write(wake_fd, 1);
    errno = error;
}

int signals_seen(void)
{
    return signals;
}

void signals_woken(void)
{
    eventfd_t n;
    (void)eventfd_read(wake_fd, &n);
}

/* The first SIGINT, SIGTERM or SIGHUP (the terminal is gone) is only noted: dfreader gets it too, and its END
 * record ends the stream. */
int signals_catch(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    struct sigaction hangup;
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        (void)sigaction(SIGHUP, &sa, NULL);
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return wake_fd;
}
