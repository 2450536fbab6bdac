#include "file.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bsd/string.h>

#include "exits.h"
#include "fileset.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "meta.h"
#include "output.h"
#include "sessinfo.h"

#define PEEK 4 /* bytes that tell a raw stream from a snapshot */

struct source {
    const struct options *o;
    struct loop loop;
    struct output out;
    struct watch w; /* fd -1: a regular file, always readable */
    struct fileset set;
    unsigned at;  /* file of the set being read, which is its flow */
    uint64_t pos; /* in that file */
    uint64_t began;
    int fd;
    bool readable;
    bool eof;
    uint64_t bytes;
    int status;
    const char *reason;
    char message[400];
};

static void on_ready(struct watch *w, uint32_t events)
{
    struct source *s = w->ctx;
    (void)events;
    s->readable = true;
    (void)loop_mod(&s->loop, w, 0); /* one read a turn; it is asked for again when the output has room */
}

static void open_input(struct source *s)
{
    const char *path = s->set.path[s->at];
    s->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        err(EXIT_CANNOT, "%s", path);
    s->pos = 0;
    s->w = (struct watch){.fd = -1, .ready = on_ready, .ctx = s};
    if (loop_add(&s->loop, &s->w, s->fd, 0) != 0 && errno != EPERM)
        err(EXIT_CANNOT, "cannot watch %s", path);
    (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

static void close_input(struct source *s)
{
    loop_del(&s->loop, &s->w);
    close(s->fd);
}

static int announce(struct source *s)
{
    struct sessinfo info = {.epoch = 1, .flows = s->set.n, .started = (uint64_t)time(NULL)};
    struct buf b = {.max = 4096};
    random_hex(info.nonce);
    strlcpy(info.source, "file", sizeof info.source);
    sessinfo_format(&info, &b, '\n');
    int rc = output_stream(&s->out) < 0 ? -1 : output_meta(&s->out, REC_SESSION, 0, 1, &b);
    for (unsigned i = 0; i < s->set.n && rc == 0; i++) {
        b.len = 0;
        meta_addu(&b, "flow", i);
        meta_adds(&b, "mode", "FILE");
        meta_addu(&b, "db", 0);
        rc = output_meta(&s->out, REC_FLOW, i, 1, &b);
    }
    buf_free(&b);
    return rc;
}

static void finish(struct source *s)
{
    struct buf b = {.max = 4096};
    meta_adds(&b, "reason", s->reason);
    meta_addu(&b, "status", (uint64_t)s->status);
    if (s->message[0] != '\0')
        meta_adds(&b, "message", s->message);
    meta_addu(&b, "n.bytes", s->bytes);
    meta_addu(&b, "n.records", s->out.records);
    (void)output_meta(&s->out, REC_END, 0, 1, &b);
    buf_free(&b);
    s->eof = true;
}

static void fail(struct source *s, int status, const char *what, const char *why)
{
    s->status = status;
    s->reason = "error";
    snprintf(s->message, sizeof s->message, "%.200s: %s", what, why);
    log_event(LOG_ERROR, NO_FLOW, "event=failed status=%d reason=\"%s\"", status, s->message);
}

static bool is_raw_stream(const uint8_t *p, size_t n)
{
    uint8_t header[REC_STREAM];
    rec_stream_header(header, KIND_RAW);
    return n >= PEEK && memcmp(p, header, PEEK) == 0;
}

static void read_once(struct source *s)
{
    uint8_t *to = output_room(&s->out);
    ssize_t n = read(s->fd, to, DATA_MAX);
    s->readable = s->w.fd < 0;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0 && s->bytes == 0 && is_raw_stream(to, (size_t)n)) {
        fail(s, EXIT_USAGE, s->o->shown,
             "is a record stream already: give it to dfparse (raw) or rediswriter");
        n = 0;
    } else if (n < 0) {
        fail(s, EXIT_CANNOT, s->o->shown, strerror(errno));
    }
    if (n == 0 && s->status == EXIT_DONE && s->at + 1 < s->set.n) {
        close_input(s);
        s->at++;
        open_input(s);
        s->readable = s->w.fd < 0;
        return;
    }
    if (n <= 0) {
        finish(s);
        return;
    }
    (void)output_data(&s->out, s->at, 1, s->pos, (size_t)n); /* a dead output is noticed by the caller */
    s->pos += (uint64_t)n;
    s->bytes += (uint64_t)n;
}

static void take_signals(struct source *s)
{
    unsigned n = signals_seen();
    if (n == 0 || s->out.dead)
        return;
    if (!s->eof) {
        s->status = EXIT_PARTIAL;
        s->reason = "stop";
        finish(s);
    }
    if (n >= 2 && !output_flushed(&s->out)) {
        s->out.dead = true;
        s->status = exit_worse(s->status, EXIT_PARTIAL);
    }
}

static void progress(struct source *s)
{
    static uint64_t shown;
    uint64_t now = mono_us();
    if (now - shown < 1000000)
        return;
    shown = now;
    if (s->set.bytes == 0) {
        log_progress("%s  %.1f MB", s->o->shown, (double)s->bytes / 1e6);
        return;
    }
    double part = (double)s->bytes / (double)s->set.bytes;
    double left = part > 0 ? (double)(now - s->began) / 1e6 * (1 / part - 1) : 0;
    log_progress("%s  %.0f %% of %.1f MB  %.0f s left", s->o->shown, 100 * part, (double)s->set.bytes / 1e6,
                 left);
}

static void run(struct source *s)
{
    s->readable = s->w.fd < 0;
    while (!s->out.dead && !(s->eof && output_flushed(&s->out))) {
        bool wanted = !s->eof && !output_full(&s->out);
        if (wanted && !s->readable)
            (void)loop_mod(&s->loop, &s->w, EPOLLIN);
        loop_wait(&s->loop, wanted && s->readable ? 0 : LOOP_TICK);
        if (!s->eof && s->readable && !output_full(&s->out) && !s->out.dead)
            read_once(s);
        take_signals(s);
        progress(s);
    }
}

int file_run(const struct options *o)
{
    struct source s = {.o = o, .reason = "complete", .status = EXIT_DONE};
    loop_init(&s.loop);
    s.began = mono_us();
    fileset_find(&s.set, o->file, o->one_file);
    open_input(&s);
    s.status = output_open(&s.out, &s.loop, o);
    if (s.status == EXIT_DONE && announce(&s) == 0)
        run(&s);
    output_close(&s.out);
    if (s.out.lost) {
        int status;
        const char *why = output_fault(&s.out, &status);
        log_event(LOG_ERROR, NO_FLOW, "event=output-failed status=%d reason=\"%s\"", status, why);
        s.status = exit_worse(s.status, status);
    }
    output_free(&s.out);
    close_input(&s);
    fileset_free(&s.set);
    loop_free(&s.loop);
    return s.status;
}
