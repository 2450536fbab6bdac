#include "failures.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "request.h"
#include "../target/suspect.h"
#include "../options.h"
#include "../outcome.h"
#include "../summary.h"

#define GATHER      ((size_t)64 << 10)
#define PIECE       ((size_t)256 << 10) /* of a large request, in a record */
#define SHOWN       1024                /* bytes of a key or a reply in a report */
#define KEPT_FLAGS  (RF_IDEMPOTENT | RF_MULTIKEY)
#define SPLIT_FLAGS (KEPT_FLAGS | RF_FIRST | RF_LAST)

static void cannot(struct failures *k, const char *what)
{
    outcome_fail(k->outcome, EXIT_CANNOT, "event=errors_not_kept file=%s error=%s",
                 log_quote(k->opt->errors_to, strlen(k->opt->errors_to)), log_quote(what, strlen(what)));
}

/* ---- a file that is there already ---- */

/* It is made only when there is something to be kept: then it is too late to find out that it cannot be. */
static bool can_be_made(struct failures *k)
{
    char path[4096];
    if (strlcpy(path, k->opt->errors_to, sizeof path) >= sizeof path)
        errno = ENAMETOOLONG;
    else if (errno == ENOENT && access(dirname(path), W_OK | X_OK) == 0)
        return true;
    cannot(k, strerror(errno));
    return false;
}

bool failures_check(struct failures *k)
{
    struct stat st, in;
    uint8_t want[REC_STREAM], got[REC_STREAM];
    if (k->opt->errors_to == NULL)
        return true;
    if (stat(k->opt->errors_to, &st) < 0)
        return can_be_made(k);
    if (!S_ISREG(st.st_mode))
        return true;
    for (unsigned i = 0; i < k->opt->nfiles; i++)
        if (stat(k->opt->files[i], &in) == 0 && in.st_dev == st.st_dev && in.st_ino == st.st_ino) {
            cannot(k, "it is an input as well");
            return false;
        }
    int fd = io_open_own(k->opt->errors_to, O_RDONLY, 0);
    ssize_t n = fd >= 0 ? read(fd, got, sizeof got) : -1;
    if (n < 0)
        cannot(k, strerror(errno));
    if (fd >= 0)
        close(fd);
    rec_stream_header(want, KIND_COMMAND);
    if (n > 0 && memcmp(want, got, (size_t)n) != 0)
        cannot(k, "it exists and holds something else than records of failed requests");
    return !k->outcome->failed;
}

/* How far a file can be kept, and what is missing there. */
struct tail {
    uint64_t at;     /* end of the last whole request */
    uint64_t stream; /* where the last stream begins */
    uint64_t seq;    /* the last in it */
    bool flow;       /* it has its FLOW record */
    bool ended;      /* it has its END record */
};

static bool survey(int fd, struct tail *s)
{
    struct recin in;
    struct rec r;
    const uint8_t *payload;
    *s = (struct tail){.ended = true};
    recin_init(&in, fd, KIND_COMMAND);
    bool fine = true;
    for (bool more = true; more && fine;) {
        uint64_t before = in.offset;
        switch (recin_next(&in, &r, &payload)) {
        case RECIN_MORE: fine = recin_fill(&in) >= 0; break;
        case RECIN_STREAM: *s = (struct tail){.stream = before, .at = in.offset}; break;
        case RECIN_RECORD:
            if (r.seq > 0 && (r.flags & RF_MORE) == 0)
                s->seq = r.seq;
            if ((r.flags & RF_MORE) == 0)
                s->at = in.offset;
            s->flow |= r.type == REC_FLOW;
            s->ended = r.type == REC_END;
            break;
        case RECIN_END:
        case RECIN_CUT: more = false; break;
        case RECIN_DAMAGED: /* of a stream header that was cut short the rest is missing, and nothing else
                               wrong */
            fine = in.eof && in.b.len - in.start < REC_STREAM;
            more = false;
            break;
        }
    }
    recin_free(&in);
    return fine;
}

static void put(struct failures *k, struct rec *r, const void *payload, size_t n);

/* What a writer before us left, perhaps in the middle of a record, becomes a whole stream that can be
 * replayed. */
static bool mend(struct failures *k, int fd)
{
    struct tail s;
    if (!survey(fd, &s)) {
        cannot(k, "what it holds is damaged");
        return false;
    }
    uint64_t keep = s.ended || s.flow ? s.at : s.stream;
    if (ftruncate(fd, (off_t)keep) < 0 || lseek(fd, 0, SEEK_END) < 0) {
        cannot(k, strerror(errno));
        return false;
    }
    if (s.ended || !s.flow)
        return true;
    static const char text[] = "reason=complete\nstatus=0\n";
    struct rec synced = {.type = REC_SYNCED, .slot = REC_NO_SLOT, .epoch = 1, .seq = s.seq + 1};
    struct rec end = {.type = REC_END, .slot = REC_NO_SLOT, .epoch = 1};
    put(k, &synced, NULL, 0);
    put(k, &end, text, sizeof text - 1);
    return true;
}

/* ---- writing ---- */

static void put(struct failures *k, struct rec *r, const void *payload, size_t n)
{
    if (k->out.fd >= 0 && recout_put(&k->out, r, payload, n) < 0) {
        cannot(k, strerror(errno));
        close(k->out.fd);
        k->out.fd = -1;
    }
}

static void flush(struct failures *k)
{
    if (k->out.fd < 0 || recout_flush(&k->out) == 0)
        return;
    cannot(k, strerror(errno));
    close(k->out.fd);
    k->out.fd = -1;
}

static void meta(struct failures *k, unsigned type, const struct buf *text)
{
    struct rec r = {.type = (uint8_t)type, .slot = REC_NO_SLOT, .epoch = 1, .time = now_us()};
    put(k, &r, text->p, text->len);
}

static void heading(struct failures *k)
{
    struct buf b = {0};
    char nonce[33];
    random_hex(nonce);
    (void)recout_stream(&k->out, KIND_COMMAND);
    meta_adds(&b, "nonce", nonce);
    meta_adds(&b, "source", "file");
    meta_addu(&b, "flows", 1);
    meta_addu(&b, "epoch", 1);
    meta_addu(&b, "journal", 0);
    meta_addu(&b, "started", now_us() / 1000000);
    meta(k, REC_SESSION, &b);
    meta(k, REC_TARGET, &k->target);
    b.len = 0;
    meta_addu(&b, "flow", 0);
    meta_adds(&b, "mode", "FILE");
    meta(k, REC_FLOW, &b);
    buf_free(&b);
    k->target_there = true;
}

/* Only when there is something to be kept. */
static void begin(struct failures *k)
{
    k->open = true;
    int fd = io_open_own(k->opt->errors_to, O_RDWR | O_CREAT, 0600);
    struct stat st;
    recout_init(&k->out, fd, GATHER);
    if (fd < 0 || fstat(fd, &st) < 0)
        cannot(k, strerror(errno));
    else if (!S_ISREG(st.st_mode) || mend(k, fd))
        heading(k);
    else
        k->out.fd = -1;
    if (k->out.fd < 0 && fd >= 0)
        close(fd);
}

static void report(struct failures *k, const struct failure *f)
{
    struct buf b = {0};
    struct slice key;
    size_t len = f->len < SHOWN ? f->len : SHOWN;
    meta_adds(&b, "kind", "failed");
    if (f->r.keyarg > 0 && request_arg(f->request, f->n, f->r.keyarg, &key))
        meta_add(&b, "key", key.p, key.n < SHOWN ? key.n : SHOWN, '\n');
    meta_add(&b, "detail", f->text, len, '\n');
    meta_addu(&b, "lost", f->gone);
    meta(k, REC_REPORT, &b);
    buf_free(&b);
}

/* The header under which it is replayed. */
static struct rec kept_rec(const struct failure *f, uint64_t seq)
{
    struct rec r = f->r;
    if (r.type == 0)
        r.type = REC_REQUEST;
    r.flags = (uint16_t)(r.type == REC_REQUEST ? r.flags & (f->split ? SPLIT_FLAGS : KEPT_FLAGS) : 0);
    if (r.type == REC_REQUEST && r.keyarg == 0)
        r.flags |= RF_MULTIKEY; /* its keys cannot be told */
    r.flow = 0;
    r.epoch = 1;
    r.pos = 0;
    r.seq = seq;
    return r;
}

/* A request of any size, in records of one number. */
static void put_request(struct failures *k, const struct failure *f)
{
    struct rec r = kept_rec(f, ++k->seq);
    uint64_t size = f->big != NULL ? f->big->size : f->payload != NULL ? f->payload_n : f->n;
    const uint8_t *mem = f->payload != NULL ? f->payload : f->request;
    uint8_t *piece = f->big != NULL ? xmalloc(PIECE) : NULL;
    uint64_t at = 0;
    uint16_t flags = r.flags;
    do {
        size_t most = f->big != NULL ? PIECE : REC_PAYLOAD_MAX;
        size_t n = size - at < most ? (size_t)(size - at) : most;
        if (f->big != NULL && big_read(f->big, at, piece, n) != (long)n) {
            cannot(k, strerror(errno));
            break;
        }
        r.flags = (uint16_t)(at + n < size ? flags | RF_MORE : flags);
        put(k, &r, f->big != NULL ? piece : mem + at, n);
        at += n;
    } while (at < size);
    free(piece);
}

/* Its words stand in a REPORT record before it. */
static void keep(struct failures *k, const struct failure *f)
{
    if (k->opt->errors_to == NULL)
        return;
    if (!k->open)
        begin(k);
    if (!k->target_there) { /* the streams of one writer may be made for one target, told differently */
        meta(k, REC_TARGET, &k->target);
        k->target_there = true;
    }
    report(k, f);
    if (!f->gone) {
        put_request(k, f);
        k->kept++;
    }
    flush(k);
}

void failures_last(struct failures *k, const struct rec *r)
{
    struct rec mark = *r;
    if (!k->open)
        return;
    mark.flow = 0;
    mark.epoch = 1;
    mark.pos = 0;
    mark.seq = ++k->seq;
    put(k, &mark, NULL, 0);
    flush(k);
}

void failures_target(struct failures *k, const uint8_t *text, size_t n)
{
    if (k->opt->errors_to == NULL || (n > 0 && k->target.len == n && memcmp(k->target.p, text, n) == 0))
        return;
    k->target.len = 0;
    (void)buf_add(&k->target, text, n);
    k->target_there = false;
}

void failures_end(struct failures *k)
{
    if (k->open && k->out.fd >= 0) {
        struct buf b = {0};
        struct rec synced = {.type = REC_SYNCED, .slot = REC_NO_SLOT, .epoch = 1, .seq = k->seq + 1};
        put(k, &synced, NULL, 0);
        meta_adds(&b, "reason", "complete");
        meta_addu(&b, "status", 0);
        meta_addu(&b, "n.failed", k->kept);
        meta(k, REC_END, &b);
        buf_free(&b);
        flush(k);
        log_event(LOG_WARN, NO_FLOW, "event=errors_kept requests=%llu file=%s", (unsigned long long)k->kept,
                  log_quote(k->opt->errors_to, strlen(k->opt->errors_to)));
        if (k->out.fd >= 0 && close(k->out.fd) < 0)
            cannot(k, strerror(errno));
    }
    if (k->open)
        recout_free(&k->out);
    buf_free(&k->target);
}

/* ---- a request that failed ---- */

void failures_add(struct failures *k, const struct failure *f)
{
    struct slice key = {0}, name = {0};
    bool has_key = f->r.keyarg > 0 && request_arg(f->request, f->n, f->r.keyarg, &key);
    (void)request_arg(f->request, f->n, 0, &name);
    char name_of[KIND_NAME];
    int k_len =
        snprintf(name_of, sizeof name_of, "%.*s: %.*s", (int)(name.n < 24 ? name.n : 24),
                 name.p != NULL ? (const char *)name.p : "", (int)error_kind_len(f->text, f->len), f->text);
    const struct kind *kind =
        kinds_count(&k->stats->errors, name_of, (size_t)k_len, has_key ? key.p : NULL, key.n);
    uint64_t bytes = f->big != NULL ? f->big->size : f->payload != NULL ? f->payload_n : f->n;
    log_event(kind->count == 1 || suspect_is(f->text, f->len) ? LOG_WARN : LOG_DEBUG, (int)f->r.flow,
              "event=data_error command=%s key=%s db=%u reply=%s bytes=%llu", log_quote(name.p, name.n),
              log_quote(key.p, key.n), f->r.db, log_quote(f->text, f->len), (unsigned long long)bytes);
    keep(k, f);
    if (k->opt->strict)
        outcome_fail(k->outcome, EXIT_DATA, "event=strict note=\"stopped at the first data error\"");
}
