#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "file_kind.h"
#include "file_source.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "sessinfo.h"

#define COME                                                                                                 \
    ((uint64_t)1000000) /* µs for a parser to come to the control socket once it could know of it           \
                         */

static void finish(struct source *s)
{
    struct buf b = {.max = 4096};
    meta_adds(&b, "reason", s->reason);
    meta_addu(&b, "status", (uint64_t)s->status);
    if (s->message[0] != '\0')
        meta_adds(&b, "message", s->message);
    meta_addu(&b, "n.bytes", s->bytes);
    meta_addu(&b, "n.records", s->out.records);
    (void)output_meta(&s->out, REC_END, 0, FILE_EPOCH, &b);
    buf_free(&b);
    s->eof = true;
    s->signals_before = signals_seen();
}

/* Nothing more comes, and END says why. */
static void fail(struct source *s, int status, const char *what, const char *why)
{
    if (s->eof)
        return;
    s->status = status;
    s->reason = "error";
    (void)snprintf(s->message, sizeof s->message, "%s%s%.250s", what, what[0] != '\0' ? ": " : "", why);
    log_clean(s->message);
    log_event(LOG_ERROR, NO_FLOW, "event=failed status=%d reason=\"%s\"", status, s->message);
    finish(s);
}

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
    s->w = (struct watch){.fd = -1, .ready = on_ready, .ctx = s};
    s->pos = 0;
    s->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 && errno == EINTR &&
        signals_seen() > 0) /* a FIFO that nobody writes to: see take_signals */
        return;
    if (s->fd < 0 || (loop_add(&s->loop, &s->w, s->fd, 0) != 0 && errno != EPERM)) {
        fail(s, EXIT_CANNOT, path, strerror(errno));
        return;
    }
    (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    s->readable = s->w.fd < 0;
}

static void close_input(struct source *s)
{
    loop_del(&s->loop, &s->w);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static int announce(struct source *s)
{
    struct sessinfo info = {.epoch = FILE_EPOCH, .flows = s->set.n, .started = (uint64_t)time(NULL)};
    struct buf b = {.max = 4096};
    strlcpy(info.nonce, s->hub.nonce, sizeof info.nonce);
    strlcpy(info.control, s->listening ? s->hub.path : "", sizeof info.control);
    strlcpy(info.source, "file", sizeof info.source);
    sessinfo_format(&info, &b, '\n');
    int rc = output_meta(&s->out, REC_SESSION, 0, FILE_EPOCH, &b);
    for (unsigned i = 0; i < s->set.n && rc == 0; i++) {
        b.len = 0;
        meta_addu(&b, "flow", i);
        meta_adds(&b, "mode", "FILE");
        meta_addu(&b, "db", 0);
        rc = output_meta(&s->out, REC_FLOW, i, FILE_EPOCH, &b);
    }
    buf_free(&b);
    return rc;
}

/* ---- reading ---- */

static void read_once(struct source *s)
{
    uint8_t *to = output_room(&s->out);
    ssize_t n = read(s->fd, to, DATA_MAX);
    s->readable = s->w.fd < 0;
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    const char *path = s->set.path[s->at];
    int status = EXIT_CANNOT;
    const char *fault = n < 0         ? strerror(errno)
                        : s->pos == 0 ? file_kind_fault(to, (size_t)n, &status)
                                      : NULL;
    if (fault != NULL) {
        fail(s, status, strcmp(path, "-") == 0 ? "standard input" : path, fault);
    } else if (n > 0) {
        if (s->bytes == 0 && announce(s) < 0) /* not before it is known that there is something to announce */
            return;
        (void)output_data(&s->out, s->at, FILE_EPOCH, s->pos,
                          (size_t)n); /* a dead output is noticed by the caller */
        s->pos += (uint64_t)n;
        s->bytes += (uint64_t)n;
    } else if (s->at + 1 < s->set.n) {
        close_input(s);
        s->at++;
        open_input(s);
    } else {
        finish(s);
    }
}

static void take_signals(struct source *s)
{
    unsigned n = signals_seen();
    if (s->out.dead || s->eof || (n == 0 && !s->stop))
        return;
    s->status = EXIT_PARTIAL;
    s->reason = "stop";
    finish(s);
}

static void progress(struct source *s)
{
    static uint64_t shown;
    uint64_t now = mono_us();
    long left = file_seconds_left(s, now);
    if (now - shown < 1000000)
        return;
    shown = now;
    if (left < 0)
        log_progress("%s  %.1f MB", s->o->shown, (double)s->bytes / 1e6);
    else
        log_progress("%s  %.0f %% of %.1f MB  %ld s left", s->o->shown,
                     100 * (double)s->bytes / (double)s->set.bytes, (double)s->set.bytes / 1e6, left);
}

/* ---- the end ---- */

/* Where no parser has come to the control socket: may one still come? Not to a file, and not long after the
 * first bytes were taken: SESSION is among them. */
static bool may_come(struct source *s, uint64_t now)
{
    if (s->hub.ever[ROLE_PARSER] > 0 || !output_is_channel(&s->out))
        return false;
    if (s->came_at == 0 && output_taken(&s->out))
        s->came_at = now;
    return s->came_at == 0 ? us_since(now, s->left_at) < QUIET_PEERS : us_since(now, s->came_at) < COME;
}

/* As of a live source: see await_writers in ending.c. */
static bool await_peers(struct source *s, uint64_t now)
{
    uint64_t since = s->heard_at > s->left_at ? s->heard_at : s->left_at;
    if (!file_peers_busy(s))
        return false;
    if (us_since(now, since) < QUIET_PEERS)
        return true;
    log_event(LOG_WARN, NO_FLOW, "event=peers-quiet seconds=%d", (int)(QUIET_PEERS / 1000000));
    return false;
}

/* END has left. A short file is read before dfparse has asked what the target is: so the socket stays until
 * the peers need it no more. A failure has nothing to wait for, nor does a second signal. */
static bool lingers(struct source *s)
{
    if (s->out.dead || !s->listening || strcmp(s->reason, "complete") != 0 || s->stop ||
        signals_seen() > s->signals_before)
        return false;
    uint64_t now = mono_us();
    if (s->left_at == 0)
        s->left_at = now;
    if (may_come(s, now))
        return true;
    output_close(&s->out); /* the stages behind us end with the stream, not with this process */
    return await_peers(s, now);
}

static bool over(struct source *s)
{
    if (s->out.dead)
        return true;
    if (!s->eof || (!output_flushed(&s->out) && signals_seen() <= s->signals_before))
        return false;
    if (!output_flushed(&s->out)) { /* a signal while END was waiting: the stream stays cut short */
        s->out.dead = true;
        s->status = exit_worse(s->status, EXIT_PARTIAL);
        return true;
    }
    return !lingers(s);
}

static void run(struct source *s)
{
    while (!over(s)) {
        bool wanted = !s->eof && !output_full(&s->out);
        if (wanted && !s->readable)
            (void)loop_mod(&s->loop, &s->w, EPOLLIN);
        loop_wait(&s->loop, wanted && s->readable ? 0 : s->eof ? LOOP_TICK / 10 : LOOP_TICK);
        if (s->listening)
            hub_reap(&s->hub);
        if (!s->eof && s->readable && !output_full(&s->out) && !s->out.dead)
            read_once(s);
        take_signals(s);
        progress(s);
    }
}

/* The stream begins, whatever becomes of the source: its END says it to the stages behind us. */
static void begin(struct source *s, int found, const char *why, struct hub_observer *observer)
{
    char text[300];
    if (output_stream(&s->out) < 0)
        return;
    if (found != EXIT_DONE) {
        fail(s, found, "", why);
        return;
    }
    if (file_peers_open(s, observer, text, sizeof text) < 0 && s->o->control != NULL) {
        fail(s, EXIT_CANNOT, "", text);
        return;
    }
    if (!s->listening)
        log_event(LOG_WARN, NO_FLOW, "event=no-control-socket reason=%s note=%s",
                  log_quote(text, strlen(text)),
                  "\"dfparse cannot know the target: give it --target-version\"");
    open_input(s);
}

static void output_failed(struct source *s)
{
    int status;
    (void)output_report(&s->out, NO_FLOW, &status);
    s->status = exit_worse(s->status, status);
}

int file_run(const struct options *o)
{
    struct source s = {.o = o, .reason = "complete", .status = EXIT_DONE, .fd = -1, .w.fd = -1};
    struct hub_observer observer;
    char why[400] = "";
    loop_init(&s.loop);
    s.began = mono_us();
    int found = fileset_find(&s.set, o->file, o->one_file, why, sizeof why);
    s.status = output_open(&s.out, &s.loop, o);
    if (s.status == EXIT_DONE) {
        fatal_stream(-1, KIND_RAW);
        begin(&s, found, why, &observer);
        run(&s);
    }
    output_close(&s.out);
    if (s.out.lost)
        output_failed(&s);
    if (s.listening)
        hub_close(&s.hub);
    output_free(&s.out);
    close_input(&s);
    fileset_free(&s.set);
    loop_free(&s.loop);
    return s.status;
}
