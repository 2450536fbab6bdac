#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exits.h"
#include "position/forget.h"
#include "io.h"
#include "log.h"
#include "events.h"
#include "options.h"
#include "outcome.h"
#include "session.h"
#include "target/node.h"

#define PIPE_SIZE    ((size_t)1 << 20)
#define ACCEPT_RETRY ((uint64_t)1000000) /* µs */
#define MANY         16                  /* with more inputs than this, idle ones give their memory back */

static void begin(struct input *in, int fd)
{
    recin_init(&in->in, fd, KIND_COMMAND);
    in->open = true;
    in->hungry = true;
    struct stat st;
    /* Files, and devices like /dev/null, are always ready; epoll does not take them. */
    in->pollable = fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd));
    (void)pipe_enlarge(fd, PIPE_SIZE);
}

static bool open_named(struct inputs *i, struct input *in)
{
    /* O_NONBLOCK: a FIFO must not stop us until its writer comes. */
    int fd = i->opt->forget               ? forget_stream(i->exact, i->target->cluster)
             : strcmp(in->name, "-") == 0 ? dup(STDIN_FILENO)
                                          : open(in->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        outcome_fail(i->outcome, EXIT_CANNOT, "event=cannot_open input=%s error=%s",
                     log_quote(in->name, strlen(in->name)),
                     log_quote(strerror(errno), strlen(strerror(errno))));
        return false;
    }
    begin(in, fd);
    struct stat st;
    in->came = fstat(fd, &st) == 0 && !S_ISFIFO(st.st_mode);
    if (strcmp(in->name, "-") == 0)
        in->came = true; /* whoever started us connected it */
    return true;
}

bool inputs_open(struct inputs *i)
{
    const struct options *o = i->opt;
    i->named = o->nfiles;
    i->n = i->unfinished = o->nfiles + o->inputs;
    i->v = xcalloc(i->n, sizeof *i->v);
    i->listen_fd = -1;
    i->deadline = mono_us() + (uint64_t)o->input_timeout * 1000000;
    for (unsigned k = 0; k < i->n; k++) {
        i->v[k].in.fd = -1;
        i->v[k].name = k < o->nfiles ? (strcmp(o->files[k], "-") == 0 ? "-" : o->files[k]) : o->listen;
    }
    if (o->listen != NULL) {
        i->listen_fd = sock_unix_listen(o->listen);
        if (i->listen_fd < 0) {
            outcome_fail(i->outcome, EXIT_CANNOT, "event=cannot_listen path=%s error=%s",
                         log_quote(o->listen, strlen(o->listen)),
                         log_quote(strerror(errno), strlen(strerror(errno))));
            return false;
        }
        events_watch(i->events, i->listen_fd, TAG_LISTEN, EPOLLIN);
    }
    for (unsigned k = 0; k < i->named; k++)
        if (!open_named(i, &i->v[k]))
            return false;
    return true;
}

static void stop_listening(struct inputs *i)
{
    if (i->listen_fd < 0)
        return;
    events_drop(i->events, i->listen_fd);
    close(i->listen_fd);
    (void)unlink(i->opt->listen);
    i->listen_fd = -1;
}

void inputs_free(struct inputs *i)
{
    stop_listening(i);
    for (unsigned k = 0; k < i->n; k++) {
        if (i->v[k].open)
            close(i->v[k].in.fd);
        recin_free(&i->v[k].in);
    }
    free(i->v);
}

/* Out of descriptors or memory: who waits is left waiting. Said once, until somebody could be accepted. */
static void pause_listening(struct inputs *i, int error)
{
    if (!i->no_room)
        log_event(LOG_WARN, NO_FLOW, "event=accept_failed path=%s error=%s note=\"tried again every second\"",
                  log_quote(i->opt->listen, strlen(i->opt->listen)),
                  log_quote(strerror(error), strlen(strerror(error))));
    i->no_room = true;
    i->listen_at = mono_us() + ACCEPT_RETRY;
    events_drop(i->events, i->listen_fd);
}

void inputs_accept(struct inputs *i)
{
    while (i->named + i->connected < i->n) {
        int fd = accept4(i->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                pause_listening(i, errno);
            return;
        }
        i->no_room = false;
        struct input *in = &i->v[i->named + i->connected++];
        begin(in, fd);
        in->came = true;
    }
    stop_listening(i);
}

static void finish(struct inputs *i, struct input *in)
{
    if (in->armed)
        events_drop(i->events, in->in.fd);
    in->armed = in->hungry = false;
    in->finished = true;
    close(in->in.fd);
    in->open = false;
    buf_free(&in->in.b);
    in->in.start = 0;
    i->unfinished--;
}

static bool fill(struct inputs *i, struct input *in)
{
    long n = recin_fill(&in->in);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return false;
        outcome_fail(i->outcome, EXIT_CANNOT, "event=read_failed input=%s error=%s",
                     log_quote(in->name, strlen(in->name)),
                     log_quote(strerror(errno), strlen(strerror(errno))));
        finish(i, in);
        return false;
    }
    in->came = true;
    in->hungry = false;
    return true;
}

void input_ready(struct inputs *i, unsigned number)
{
    struct input *in = &i->v[number];
    if (in->hungry && !i->outcome->failed) {
        (void)fill(i, in);
        return;
    }
    /* Its record has to wait, or nothing is read any more: stop being told. */
    events_drop(i->events, in->in.fd);
    in->armed = false;
}

bool inputs_feed(struct inputs *i)
{
    bool got = false;
    for (unsigned k = 0; k < i->n; k++) {
        struct input *in = &i->v[k];
        if (!in->open || !in->hungry)
            continue;
        if (!in->pollable) {
            got |= fill(i, in);
        } else if (!in->armed) {
            events_watch(i->events, in->in.fd, TAG_INPUT + k, EPOLLIN);
            in->armed = true;
        }
    }
    return got;
}

void inputs_check(struct inputs *i, uint64_t now)
{
    if (i->listen_at != 0 && now >= i->listen_at) {
        i->listen_at = 0;
        if (i->listen_fd >= 0)
            events_watch(i->events, i->listen_fd, TAG_LISTEN, EPOLLIN);
    }
    if (i->deadline == 0 || now < i->deadline)
        return;
    i->deadline = 0;
    for (unsigned k = 0; k < i->n; k++)
        if (!i->v[k].came) {
            outcome_fail(i->outcome, EXIT_RETRY, "event=input_never_came input=%s number=%u seconds=%d",
                         log_quote(i->v[k].name, strlen(i->v[k].name)), k, i->opt->input_timeout);
            return;
        }
}

static void cut(struct inputs *i, struct input *in)
{
    bool live = i->session->live || i->session->died || (i->session->left && in->pollable) ||
                recin_never_began(&in->in);
    outcome_fail(i->outcome, live ? EXIT_RETRY : EXIT_DAMAGED,
                 "event=input_cut_short input=%s offset=%llu error=%s note=%s",
                 log_quote(in->name, strlen(in->name)), (unsigned long long)in->in.offset,
                 log_quote(in->in.error, strlen(in->in.error)),
                 live ? "\"upstream died\"" : "\"incomplete file\"");
    finish(i, in);
}

bool input_next(struct inputs *i, struct input *in)
{
    for (;;) {
        uint64_t at = in->in.offset;
        switch (recin_next(&in->in, &in->rec, &in->payload)) {
        case RECIN_MORE:
            in->hungry = true;
            if (i->n > MANY && in->in.b.len == in->in.start) {
                in->in.b.len = in->in.start = 0;
                buf_trim(&in->in.b, 0);
            }
            return false;
        case RECIN_RECORD:
            in->have = true;
            in->drop = false;
            in->at = at;
            return true;
        case RECIN_STREAM: in->session_seen = in->target_seen = in->closed = false; continue;
        case RECIN_END: finish(i, in); return false;
        case RECIN_CUT: cut(i, in); return false;
        case RECIN_DAMAGED:
            outcome_fail(i->outcome, EXIT_DAMAGED, "event=input_damaged input=%s offset=%llu error=%s",
                         log_quote(in->name, strlen(in->name)), (unsigned long long)in->in.offset,
                         log_quote(in->in.error, strlen(in->in.error)));
            finish(i, in);
            return false;
        }
    }
}
