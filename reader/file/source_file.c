/* A file, a set of files or standard input as the source. The files are read one after the other. Each is a
 * flow, but those of an append-only file, which are one flow: they are opened before the first is read, as a
 * server that is running may replace them, and read as far as they reached then. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aof_files.h"
#include "exits.h"
#include "file_kind.h"
#include "fileset.h"
#include "io.h"
#include "meta.h"
#include "../session.h"

struct file_source {
    struct source source;
    struct session *s;
    struct fileset set;
    int found; /* exit status of looking for them, and why */
    char why[400];
    unsigned at;    /* the one that is being read */
    int fd;         /* -1: none is open */
    int *held;      /* those of an append-only file that are still to be read; NULL: no such file */
    uint64_t left;  /* bytes of the one that is being read */
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

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strcmp(path, "-") == 0 ? "standard input" : slash != NULL ? slash + 1 : path;
}

/* The file that is read now, and what the options say of it: dfrecord(5) FILE. */
static void announce_file(struct file_source *f)
{
    struct stream *st = &f->s->stream;
    struct buf b = {.max = 2048};
    uint64_t rest = 0;
    for (unsigned i = f->at; i < f->set.n; i++)
        rest += f->set.size[i];
    meta_adds(&b, "name", name_of(f->set.path[f->at]));
    meta_addu(&b, "aof", f->set.aof ? 1 : 0);
    meta_addu(&b, "base", f->set.base && f->at == 0 ? 1 : 0);
    meta_addu(&b, "last", f->at + 1 == f->set.n ? 1 : 0);
    if (rest > 0)
        meta_addu(&b, "rest", rest);
    meta_adds(&b, "truncated", st->o->truncated == TRUNCATED_OK ? "ok" : "fail");
    if (st->o->until_time > 0)
        meta_addu(&b, "until", st->o->until_time);
    (void)output_meta(&st->out, REC_FILE, 0, st->info.epoch, &b); /* a failure is noticed in the next turn */
    buf_free(&b);
}

static int open_path(const char *path)
{
    return strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
}

/* False, with errno, where one cannot be opened. */
static bool hold_all(struct file_source *f)
{
    f->held = xcalloc(f->set.n, sizeof *f->held);
    memset(f->held, 0xff, f->set.n * sizeof *f->held); /* -1 */
    for (; f->at < f->set.n; f->at++)
        if ((f->held[f->at] = open_path(f->set.path[f->at])) < 0)
            return false;
    f->at = 0;
    return true;
}

static void open_input(struct file_source *f)
{
    const char *path = f->set.path[f->at];
    f->w = (struct watch){.fd = -1, .ready = on_ready, .ctx = f};
    f->left = f->set.aof ? f->set.size[f->at] : UINT64_MAX;
    if (f->held != NULL) {
        f->fd = f->held[f->at];
        f->held[f->at] = -1;
    } else {
        f->fd = open_path(path);
    }
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

static void close_all(struct source *src)
{
    struct file_source *f = mine(src);
    file_close(src);
    for (unsigned i = 0; f->held != NULL && i < f->set.n; i++)
        if (f->held[i] >= 0)
            close(f->held[i]);
    free(f->held);
    f->held = NULL;
}

static struct source *file_create(struct stream *st, struct session *s)
{
    struct file_source *f = xcalloc(1, sizeof *f);
    f->source.kind = &source_file;
    f->s = s;
    f->fd = f->w.fd = -1;
    if (!aof_find(&f->set, st->o->file, st->o->one_file, &f->found, f->why, sizeof f->why))
        f->found = fileset_find(&f->set, st->o->file, st->o->one_file, f->why, sizeof f->why);
    return &f->source;
}

static void file_free(struct source *src)
{
    fileset_free(&mine(src)->set);
    free(src);
}

/* Where there are bytes, what they are was looked at before. */
static void announce(struct file_source *f)
{
    (void)stream_announce(&f->s->stream); /* a failure is noticed in the next turn */
    flows_announce(f->s, FORM_FILE);
    if (f->set.n == 1 || f->set.aof)
        announce_file(f);
}

/* False: it was said what is wrong. */
static bool ready(struct file_source *f)
{
    struct session *s = f->s;
    if (f->found != EXIT_DONE)
        session_fail(s, f->found, "%s", f->why);
    else if (s->o->until_time > 0 && aof_undated(&f->set))
        session_fail(
            s, EXIT_USAGE,
            "--until-time: nothing in %s says when it was written (it is no append-only file, or the server "
            "has aof-timestamp-enabled no)",
            s->o->shown);
    else if (f->set.aof && !hold_all(f))
        session_fail(s, EXIT_CANNOT, "%s: %s", f->set.path[f->at], strerror(errno));
    else
        return true;
    return false;
}

static void file_open(struct source *src)
{
    struct file_source *f = mine(src);
    struct session *s = f->s;
    if (!ready(f))
        return;
    s->stream.info.flows = f->set.aof ? 1 : f->set.n;
    s->size = f->set.bytes;
    flows_reset(s);
    for (unsigned i = 0; i < s->stream.info.flows; i++) {
        s->stream.flows[i].state = FLOW_UP;
        s->stream.flows[i].early = s->flows.flow[i].up = true;
    }
    s->flows.up = s->flows.n;
    session_enter(s, PHASE_FULL);
    if (f->set.aof)
        announce(f);
    open_input(f);
}

/* Not before it is known that there is something to announce. */
static void file_first_bytes(struct source *src)
{
    announce(mine(src));
}

static bool file_readable(const struct flow *flow)
{
    const struct file_source *f = mine(flow->stream->source);
    return f->fd >= 0 && f->readable && flow->id == (f->set.aof ? 0 : f->at) && !stream_ending(flow->stream);
}

/* A pipe is watched as long as the output has room. */
static bool file_work(struct source *src)
{
    struct file_source *f = mine(src);
    if (f->w.fd >= 0 && !f->readable && !output_full(&f->s->stream.out))
        (void)loop_mod(&f->s->stream.loop, &f->w, EPOLLIN);
    return false;
}

/* It was read to its end: the next one, or all is done. */
static void next_file(struct file_source *f)
{
    file_close(&f->source);
    if (++f->at == f->set.n) {
        session_stop(f->s, "complete", EXIT_DONE);
        return;
    }
    if (f->set.aof)
        announce_file(f);
    open_input(f);
}

static long file_read(struct flow *flow, uint8_t *to, size_t cap)
{
    struct file_source *f = mine(flow->stream->source);
    ssize_t n = f->left > 0 ? read(f->fd, to, cap < f->left ? cap : (size_t)f->left) : 0;
    f->readable = f->w.fd < 0;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    const char *path = f->set.path[f->at];
    int status = EXIT_CANNOT;
    const char *fault = n < 0                             ? strerror(errno)
                        : flow->bytes == 0 && !f->set.aof ? file_kind_fault(to, (size_t)n, &status)
                                                          : NULL;
    if (fault != NULL) {
        session_fail(f->s, status, "%s: %s", strcmp(path, "-") == 0 ? "standard input" : path, fault);
        return 0;
    }
    if (n == 0)
        next_file(f);
    else if (f->set.aof)
        f->left -= (uint64_t)n;
    return n;
}

/* Of an append-only file in parts, which one it is. */
static void file_fields(const struct source *src, struct buf *b)
{
    const struct file_source *f = (const struct file_source *)src;
    if (!f->set.aof || f->at >= f->set.n)
        return;
    const char *name = name_of(f->set.path[f->at]);
    (void)buf_addf(b, "file_number=%u files=%u ", f->at + 1, f->set.n);
    meta_add(b, "file", name, strlen(name), ' ');
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
    .close = close_all,
    .fields = file_fields,
};
