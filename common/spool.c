#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"

#define PIECE       ((size_t)256 << 10) /* read back at a time */
#define PEEK_MAX    ((size_t)2 << 20)
#define SEGMENT_MAX ((size_t)64 << 20)
#define SEGMENT_MIN ((size_t)256 << 10)
#define RETRY       ((uint64_t)500000) /* µs before a full disk is tried again */

struct segment {
    STAILQ_ENTRY(segment) link;
    int fd;
    struct spool_place *place;
    size_t size, rd, wr;
};

void spool_init(struct spool *q, size_t memmax, const char *spool_dir, uint64_t spool_max,
                const char *spill_dir, uint64_t spill_max)
{
    *q = (struct spool){.memmax = memmax, .mem.max = memmax + PEEK_MAX};
    STAILQ_INIT(&q->segments);
    q->spool = (struct spool_place){.dir = spool_dir, .max = spool_dir != NULL ? spool_max : 0};
    q->spill = (struct spool_place){.dir = spill_dir, .max = spill_max};
}

/* The oldest, which is read. */
static void free_segment(struct spool *q)
{
    struct segment *s = STAILQ_FIRST(&q->segments);
    STAILQ_REMOVE_HEAD(&q->segments, link);
    s->place->used -= s->size;
    s->place->retry_at = 0;
    close(s->fd);
    free(s);
}

void spool_free(struct spool *q)
{
    while (!STAILQ_EMPTY(&q->segments))
        free_segment(q);
    buf_free(&q->mem);
    q->start = 0;
    q->disk = 0;
}

/* ---- segments ---- */

/* Space on the disk is taken at once, so that a full one is noticed before anything has to be written. File
 * systems that cannot do that tell it later. */
static int open_segment(const struct spool_place *p, size_t size)
{
    int fd = io_tmpfile(p->dir);
    if (fd < 0 || fallocate(fd, 0, 0, (off_t)size) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static uint64_t clamp(uint64_t n, uint64_t least, uint64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* Size of the next segment, with room for n bytes: as large as all there are, so that few files are needed
 * and a short queue takes little space. Returns 0 where the limit is reached. */
static size_t segment_size(const struct spool_place *p, size_t n, bool beyond)
{
    uint64_t left = p->max > p->used ? p->max - p->used : 0;
    uint64_t size = clamp(p->used, SEGMENT_MIN, clamp(p->max / 16, SEGMENT_MIN, SEGMENT_MAX));
    if (left < n)
        return beyond ? (size_t)clamp(n, SEGMENT_MIN, n) : 0;
    return (size_t)clamp(size, n, left);
}

/* One more segment, with room for n bytes. Returns NULL with errno: EFBIG where the limit is reached. */
static struct segment *add_segment(struct spool *q, struct spool_place *p, size_t n, bool beyond)
{
    uint64_t now = mono_us();
    size_t size = segment_size(p, n, beyond), least = n > SEGMENT_MIN ? n : SEGMENT_MIN;
    if (size == 0 || now < p->retry_at) {
        errno = size == 0 ? EFBIG : p->error;
        return NULL;
    }
    int fd;
    while ((fd = open_segment(p, size)) < 0 && errno == ENOSPC && size / 2 >= least)
        size /= 2; /* a small disk takes less at a time */
    if (fd < 0) {
        p->error = errno;
        p->retry_at = now + RETRY;
        return NULL;
    }
    p->error = 0;
    struct segment *s = xmalloc(sizeof *s);
    *s = (struct segment){.fd = fd, .place = p, .size = size};
    p->used += s->size;
    STAILQ_INSERT_TAIL(&q->segments, s, link);
    q->last = s;
    return s;
}

static struct segment *last_with(struct spool *q, size_t n)
{
    struct segment *s = STAILQ_EMPTY(&q->segments) ? NULL : q->last;
    return s != NULL && s->size - s->wr >= n ? s : NULL;
}

bool spool_ready(struct spool *q, size_t n)
{
    if (q->spool.max == 0)
        return false;
    return last_with(q, n) != NULL || add_segment(q, &q->spool, n, false) != NULL;
}

static int write_to(struct spool *q, struct segment *s, const void *data, size_t n)
{
    if (s == NULL || io_write_at(s->fd, data, n, s->wr) < 0)
        return -1;
    s->wr += n;
    q->disk += n;
    return 0;
}

static void shift(struct spool *q)
{
    if (q->start > 0)
        buf_shift(&q->mem, q->start);
    q->start = 0;
}

static int append(struct spool *q, const void *data, size_t n, bool beyond)
{
    if (q->disk == 0 && spool_len(q) + n <= q->memmax) {
        if (q->mem.cap - q->mem.len < n)
            shift(q);
        if (buf_add(&q->mem, data, n) == 0)
            return 0;
    }
    struct segment *s = last_with(q, n);
    if (s != NULL && write_to(q, s, data, n) == 0)
        return 0;
    if (s == NULL || s->place == &q->spool) {
        if (q->spool.max > 0 && write_to(q, add_segment(q, &q->spool, n, false), data, n) == 0)
            return 0;
        if (write_to(q, add_segment(q, &q->spill, n, false), data, n) == 0)
            return 0;
    }
    return beyond ? write_to(q, add_segment(q, &q->spill, n, true), data, n) : -1;
}

int spool_put(struct spool *q, const void *data, size_t n, bool beyond)
{
    if (n > 0 && append(q, data, n, beyond) != 0)
        return -1;
    if (spool_len(q) > q->peak)
        q->peak = spool_len(q);
    return 0;
}

/* ---- reading back ---- */

/* Move up to n bytes of the oldest segment to memory. */
static int refill(struct spool *q, size_t n)
{
    struct segment *s = STAILQ_FIRST(&q->segments);
    while (s != NULL && s->rd == s->wr) { /* one that was made ready and never used */
        free_segment(q);
        s = STAILQ_FIRST(&q->segments);
    }
    if (s == NULL) {
        errno = EIO;
        return -1;
    }
    if (n > s->wr - s->rd)
        n = s->wr - s->rd;
    uint8_t *to = buf_room(&q->mem, n);
    if (to == NULL) {
        errno = ENOBUFS;
        return -1;
    }
    if (io_read_at(s->fd, to, n, s->rd) < 0)
        return -1;
    q->mem.len += n;
    s->rd += n;
    q->disk -= n;
    if (s->rd == s->wr)
        free_segment(q);
    return 0;
}

const uint8_t *spool_peek(struct spool *q, size_t want, size_t *n)
{
    static const uint8_t none[1];
    if (want > PEEK_MAX)
        want = PEEK_MAX;
    size_t step = q->memmax < PIECE ? q->memmax : PIECE;
    if (step < want)
        step = want;
    while (q->mem.len - q->start < want && q->disk > 0) {
        shift(q);
        if (refill(q, step - q->mem.len) < 0)
            return NULL;
    }
    *n = q->mem.len - q->start;
    return *n > 0 ? q->mem.p + q->start : none;
}

void spool_drop(struct spool *q, size_t n)
{
    q->start += n;
    if (q->start < q->mem.len)
        return;
    q->start = q->mem.len = 0;
    while (q->disk == 0 && !STAILQ_EMPTY(&q->segments)) /* made ready and not needed */
        free_segment(q);
}
