#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"
#include "sock.h"

#define PIPE_WANTED ((size_t)1 << 20)
#define QUEUE_SPARE                                                                                          \
    ((size_t)1 << 20) /* for the record that passes the limit, and for END behind a full file */

/* A queue that fills and empties in turns is one matter: it is said again only when it had been well for so
 * long. */
#define WELL_FOR  ((uint64_t)60000000) /* µs */
#define SHOWN_FOR ((uint64_t)10000000) /* µs that the status shows it: it may be asked between two turns */

static void on_ready(struct watch *w, uint32_t events);

static int fail(struct output *out, int error)
{
    out->dead = true;
    out->lost = true;
    out->error = error;
    return -1;
}

void output_none(struct output *out)
{
    memset(out, 0, sizeof *out);
    out->fd = out->w.fd = out->fl_before = -1;
    spool_init(&out->q, 0, NULL, 0, NULL, 0);
    out->limit = 1;
}

/* Pipes and sockets become non-blocking and are watched for their reader's death; epoll refuses the rest. */
static int watch_output(struct output *out)
{
    out->w.ready = on_ready;
    out->w.ctx = out;
    if (loop_add(out->loop, &out->w, out->fd, 0) != 0)
        return errno == EPERM ? 0 : -1;
    (void)pipe_enlarge(out->fd, PIPE_WANTED);
    int fl = fcntl(out->fd, F_GETFL);
    if (fl < 0 || fcntl(out->fd, F_SETFL, fl | O_NONBLOCK) != 0)
        return -1;
    if ((fl & O_NONBLOCK) == 0)
        out->fl_before = fl;
    return 0;
}

/* The stream ends when our own descriptor is closed: standard output must not hold it open. */
static int release_stdout(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int rc = null < 0 ? -1 : dup2(null, STDOUT_FILENO);
    if (null >= 0)
        close(null);
    return rc < 0 ? -1 : 0;
}

static int open_failed(struct output *out, const char *where, const char *advice)
{
    char text[600];
    snprintf(text, sizeof text, "cannot write to %s: %s%s", where, strerror(errno), advice);
    if (signals_seen() == 0) /* else a signal ended the wait for a FIFO's reader */
        log_event(LOG_ERROR, NO_FLOW, "event=failed status=%d error=\"%s\"", EXIT_CANNOT, text);
    if (out->fd >= 0 && !isatty(out->fd)) /* the spool failed: those behind us are told */
        fatal_write_stream(out->fd, KIND_RAW, EXIT_CANNOT, text);
    output_free(out);
    output_none(out);
    return signals_seen() == 0 ? EXIT_CANNOT : EXIT_PARTIAL;
}

/* The spool's directory must be there before it is needed. */
static bool spool_usable(const char *dir)
{
    int fd = dir != NULL ? io_tmpfile(dir) : -1;
    if (fd >= 0)
        close(fd);
    return dir == NULL || fd >= 0;
}

int output_open(struct output *out, struct loop *loop, const struct options *o)
{
    bool standard = strcmp(o->output, "-") == 0;
    output_none(out);
    out->loop = loop;
    out->fd = sock_open_output(o->output);
    if (out->fd < 0)
        return open_failed(out, o->output, "");
    if (isatty(out->fd)) {
        log_event(LOG_ERROR, NO_FLOW, "event=failed status=%d error=\"raw records are not for a terminal\"",
                  EXIT_USAGE);
        output_free(out);
        output_none(out);
        return EXIT_USAGE;
    }
    if (!spool_usable(o->spool))
        return open_failed(out, o->spool,
                           "; what the output does not take is spooled there: --spool names another "
                           "directory, --no-spool goes without");
    out->limit = o->buffer;
    spool_init(&out->q, o->buffer + QUEUE_SPARE, o->spool, o->spool_max, o->spill_dir, o->spill_max);
    out->scratch = xmalloc(REC_HEADER + DATA_MAX);
    if (watch_output(out) < 0 || (standard && release_stdout() < 0))
        return open_failed(out, o->output, "");
    return EXIT_DONE;
}

void output_close(struct output *out)
{
    if (out->fd < 0)
        return;
    if (out->w.fd >= 0)
        loop_del(out->loop, &out->w);
    if (out->fl_before >= 0)
        (void)fcntl(out->fd, F_SETFL, out->fl_before);
    if (close(out->fd) != 0 && !out->dead) /* where NFS and quotas tell of a full disk */
        (void)fail(out, errno);
    out->fd = -1;
    spool_free(&out->q);
}

void output_free(struct output *out)
{
    output_close(out);
    free(out->scratch);
    out->scratch = NULL;
}

/* Write what the output takes now. Returns the number of bytes, or -1. */
static long write_some(struct output *out, const uint8_t *p, size_t n)
{
    for (;;) {
        ssize_t w = write(out->fd, p, n);
        if (w >= 0) {
            out->written += (uint64_t)w;
            return w;
        }
        if (errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return fail(out, errno);
    }
}

static void want_room(struct output *out, bool want)
{
    if (out->w.fd < 0 || out->waiting == want)
        return;
    out->waiting = want;
    if (loop_mod(out->loop, &out->w, want ? EPOLLOUT : 0) != 0)
        (void)fail(out, errno);
}

/* Its disk is empty, and what is left is in memory: the spool is not full any more. Not only once nothing is
 * left: with a steady load that never comes. */
static void note_well(struct output *out)
{
    if (!out->slow || out->q.disk > 0 || spool_len(&out->q) > out->limit / 2)
        return;
    out->slow = false;
    out->well_since = mono_us();
}

static void flush_queue(struct output *out)
{
    while (!out->dead && spool_len(&out->q) > 0) {
        size_t n;
        const uint8_t *p = spool_peek(&out->q, 1, &n);
        if (p == NULL) {
            (void)fail(out, errno);
            return;
        }
        long w = write_some(out, p, n);
        if (w <= 0)
            return;
        spool_drop(&out->q, (size_t)w);
        note_well(out);
    }
    want_room(out, false);
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct output *out = w->ctx;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        loop_del(out->loop, &out->w);
        if (!out->dead)
            out->lost = spool_len(&out->q) > 0;
        out->dead = true;
        out->error = EPIPE;
        return;
    }
    if ((events & EPOLLOUT) != 0)
        flush_queue(out);
}

/* droppable: when the queue cannot take it, END may still follow. */
static int put(struct output *out, const uint8_t *p, size_t n, bool droppable)
{
    size_t whole = n;
    if (out->dead) {
        out->lost = true;
        return -1;
    }
    if (out->fd < 0)
        return 0;
    if (out->w.fd < 0)
        return io_write_all(out->fd, p, n) == 0 ? 0 : fail(out, errno);
    if (spool_len(&out->q) == 0) {
        long w = write_some(out, p, n);
        if (w < 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    if (n == 0)
        return 0;
    bool needed =
        n < whole || !droppable; /* half a record is out, or one without which the stream is nothing */
    if (spool_put(&out->q, p, n, needed) != 0) {
        if (needed)
            return fail(out, errno);
        out->spill_error = errno;
        return -1;
    }
    want_room(out, true);
    return out->dead ? -1 : 0;
}

int output_put(struct output *out, struct rec r)
{
    if (out->fd < 0)
        return 0;
    r.slot = REC_NO_SLOT;
    rec_encode(out->scratch, &r);
    out->records++;
    out->bytes += r.type == REC_DATA ? r.len : 0;
    return put(out, out->scratch, REC_HEADER + r.len, true);
}

int output_records(struct output *out, const uint8_t *p, size_t n, unsigned records)
{
    if (out->fd < 0)
        return 0;
    out->records += records;
    return put(out, p, n, true);
}

int output_data(struct output *out, unsigned flow, uint16_t epoch, uint64_t pos, size_t n)
{
    return output_put(out, (struct rec){.len = (uint32_t)n,
                                        .type = REC_DATA,
                                        .flow = (uint16_t)flow,
                                        .epoch = epoch,
                                        .pos = pos,
                                        .time = now_us()});
}

int output_stream(struct output *out)
{
    uint8_t header[REC_STREAM];
    rec_stream_header(header, KIND_RAW);
    return put(out, header, sizeof header, false);
}

int output_meta(struct output *out, enum rec_type type, unsigned flow, uint16_t epoch, const struct buf *text)
{
    uint8_t whole[REC_HEADER + 4096]; /* metadata is short; a longer one would be a bug of the caller */
    if (text->len > sizeof whole - REC_HEADER)
        return fail(out, EMSGSIZE);
    struct rec r = {.len = (uint32_t)text->len,
                    .type = (uint8_t)type,
                    .flow = (uint16_t)flow,
                    .slot = REC_NO_SLOT,
                    .epoch = epoch,
                    .time = now_us()};
    rec_encode(whole, &r);
    memcpy(whole + REC_HEADER, text->p, text->len);
    out->records++;
    return put(out, whole, REC_HEADER + text->len, false);
}

static bool well_for(const struct output *out, uint64_t us)
{
    return out->well_since == 0 || mono_us() - out->well_since >= us;
}

bool output_full(struct output *out)
{
    if (out->read_on || spool_len(&out->q) < out->limit || spool_ready(&out->q, REC_HEADER + DATA_MAX))
        return false;
    if (out->q.spool.max == 0 || out->slow)
        return true;
    out->slow = true;
    if (well_for(out, WELL_FOR))
        log_event(LOG_WARN, NO_FLOW, "event=spool_full directory=%s bytes=%llu error=\"%s\"",
                  out->q.spool.dir, (unsigned long long)spool_len(&out->q),
                  out->q.spool.error != 0 ? strerror(out->q.spool.error) : "--spool-max");
    return true;
}

bool output_spool_full(const struct output *out)
{
    return out->slow || !well_for(out, SHOWN_FOR);
}

bool output_behind(const struct output *out)
{
    return spool_len(&out->q) > 0 || (out->w.fd >= 0 && io_unread(out->fd) > 0);
}

bool output_taken(const struct output *out)
{
    long unread = io_unread(out->fd);
    return unread >= 0 && out->written > (uint64_t)unread;
}

/* It is dead as its reader has gone. That says the reader: here it is what follows from it. */
static bool reader_left(const struct output *out)
{
    return out->dead && (out->error == EPIPE || out->error == ECONNRESET);
}

const char *output_fault(const struct output *out, int *status)
{
    static char text[160];
    switch (out->dead ? out->error : out->spill_error) {
    case EPIPE:
    case ECONNRESET: *status = EXIT_RETRY; return "the reader of the output has gone";
    case EFBIG: *status = EXIT_RETRY; return "what had to be read on exceeds --spill-max";
    default:
        *status =
            out->dead ? EXIT_CANNOT : exit_local(out->spill_error); /* the spool's disk may be full for now */
        snprintf(text, sizeof text, "cannot write the output%s: %s", out->dead ? "" : "'s queue",
                 strerror(out->dead ? out->error : out->spill_error));
        return text;
    }
}

const char *output_report(const struct output *out, int flow, int *status)
{
    const char *why = output_fault(out, status);
    log_event(reader_left(out) ? LOG_DEBUG : LOG_ERROR, flow, "event=output_failed status=%d error=\"%s\"",
              *status, why);
    return why;
}
