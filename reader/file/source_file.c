/* A file, a set of files or standard input as the source. Each file is a flow; they are read one after the
 * other. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "file_kind.h"
#include "fileset.h"
#include "io.h"
#include "../session.h"

struct file_source {
    struct source source;
    struct session *s;
    struct fileset set;
    int found; /* exit status of looking for them, and why */
    char why[400];
    unsigned at;    /* the one that is being read */
    int fd;         /* -1: none is open */
    struct watch w; /* fd -1: a regular file, always readable */
    bool readable;
};

static struct file_source *mine(struct source *src)
{
    return (struct file_source *)src;
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct file_source *f = w->ctx;
    (void)events;
    f->readable = true;
    (void)loop_mod(&f->s->stream.loop, w, 0); /* one read per turn; see file_work */
}

static void open_input(struct file_source *f)
{
    const char *path = f->set.path[f->at];
    f->w = (struct watch){.fd = -1, .ready = on_ready, .ctx = f};
    f->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0 && errno == EINTR && signals_seen() > 0) /* a FIFO that nobody writes to */
        return;
    if (f->fd < 0 || (loop_add(&f->s->stream.loop, &f->w, f->fd, 0) != 0 && errno != EPERM)) {
        session_fail(f->s, EXIT_CANNOT, "%s: %s", path, strerror(errno));
        return;
    }
    (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    f->readable = f->w.fd < 0;
}

static void file_close(struct source *src)
{
    struct file_source *f = mine(src);
    loop_del(&f->s->stream.loop, &f->w);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static struct source *file_create(struct stream *st, struct session *s)
{
    struct file_source *f = xcalloc(1, sizeof *f);
    f->source.kind = &source_file;
    f->s = s;
    f->fd = f->w.fd = -1;
    f->found = fileset_find(&f->set, st->o->file, st->o->one_file, f->why, sizeof f->why);
    return &f->source;
}

static void file_free(struct source *src)
{
    fileset_free(&mine(src)->set);
    free(src);
}

static void file_open(struct source *src)
{
    struct file_source *f = mine(src);
    struct session *s = f->s;
    if (f->found != EXIT_DONE) {
        session_fail(s, f->found, "%s", f->why);
        return;
    }
    s->stream.info.flows = f->set.n;
    s->size = f->set.bytes;
    flows_reset(s);
    for (unsigned i = 0; i < f->set.n; i++) {
        s->stream.flows[i].state = FLOW_UP;
        s->stream.flows[i].early = s->flows[i].up = true;
    }
    s->up = f->set.n;
    session_enter(s, PHASE_FULL);
    open_input(f);
}

/* Not before it is known that there is something to announce. */
static void file_first_bytes(struct source *src)
{
    struct file_source *f = mine(src);
    (void)stream_announce(&f->s->stream); /* a failure is noticed in the next turn */
    flows_announce(f->s, FORM_FILE);
}

static bool file_readable(const struct flow *flow)
{
    const struct file_source *f = mine(flow->stream->source);
    return f->fd >= 0 && f->readable && flow->id == f->at && !stream_ending(flow->stream);
}

/* A pipe is watched as long as the output has room. */
static bool file_work(struct source *src)
{
    struct file_source *f = mine(src);
    if (f->w.fd >= 0 && !f->readable && !output_full(&f->s->stream.out))
        (void)loop_mod(&f->s->stream.loop, &f->w, EPOLLIN);
    return false;
}

static long file_read(struct flow *flow, uint8_t *to, size_t cap)
{
    struct source *src = flow->stream->source;
    struct file_source *f = mine(src);
    ssize_t n = read(f->fd, to, cap);
    f->readable = f->w.fd < 0;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    const char *path = f->set.path[f->at];
    int status = EXIT_CANNOT;
    const char *fault = n < 0              ? strerror(errno)
                        : flow->bytes == 0 ? file_kind_fault(to, (size_t)n, &status)
                                           : NULL;
    if (fault != NULL) {
        session_fail(f->s, status, "%s: %s", strcmp(path, "-") == 0 ? "standard input" : path, fault);
        return 0;
    }
    if (n > 0)
        return n;
    file_close(src);
    if (++f->at < f->set.n)
        open_input(f);
    else
        session_stop(f->s, "complete", EXIT_DONE);
    return 0;
}

/* There is nothing to open for a flow, or to close: file_close does that. */
static void file_flow(struct flow *flow)
{
    (void)flow;
}

const struct source_kind source_file = {
    .name = "file",
    .create = file_create,
    .free = file_free,
    .flow_open = file_flow,
    .flow_readable = file_readable,
    .flow_read = file_read,
    .flow_close = file_flow,
    .work = file_work,
    .open = file_open,
    .first_bytes = file_first_bytes,
    .close = file_close,
};
