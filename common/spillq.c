#include "spillq.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io.h"

#define PEEK_MAX   ((size_t)2 << 20)
#define PUNCH_STEP ((uint64_t)16 << 20)

void spillq_init(struct spillq *q, size_t memmax, uint64_t cap, const char *dir)
{
    *q = (struct spillq){.memmax = memmax, .fd = -1, .cap = cap, .dir = dir};
    q->mem.max = memmax + PEEK_MAX;
}

void spillq_free(struct spillq *q)
{
    buf_free(&q->mem);
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
    q->rd = q->wr = 0;
    q->start = 0;
}

static void compact(struct spillq *q)
{
    if (q->start > 0) {
        buf_shift(&q->mem, q->start);
        q->start = 0;
    }
}

int spillq_put(struct spillq *q, const void *data, size_t n)
{
    if (spillq_memroom(q) >= n) {
        if (q->mem.cap - q->mem.len < n)
            compact(q);
        if (buf_add(&q->mem, data, n) == 0) {
            if (spillq_len(q) > q->peak)
                q->peak = spillq_len(q);
            return 0;
        }
    }
    if (n > q->cap || q->wr - q->rd > q->cap - n) {
        errno = EFBIG;
        return -1;
    }
    if (q->fd < 0 && (q->fd = io_tmpfile(q->dir)) < 0)
        return -1;
    if (io_write_at(q->fd, data, n, q->wr) < 0)
        return -1;
    q->wr += n;
    if (spillq_len(q) > q->peak)
        q->peak = spillq_len(q);
    return 0;
}

/* Move up to n bytes from the file to the end of the memory part. */
static int refill(struct spillq *q, size_t n)
{
    compact(q);
    uint64_t left = q->wr - q->rd;
    if (n > left)
        n = (size_t)left;
    uint8_t *to = buf_room(&q->mem, n);
    if (to == NULL) {
        errno = ENOBUFS;
        return -1;
    }
    if (io_read_at(q->fd, to, n, q->rd) < 0)
        return -1;
    q->mem.len += n;
    uint64_t before = q->rd;
    q->rd += n;
    if (q->rd == q->wr) {
        q->rd = q->wr = 0;
        return ftruncate(q->fd, 0);
    }
    /* Give disk space of what was read back; a file system that cannot just keeps it longer. */
    if (before / PUNCH_STEP != q->rd / PUNCH_STEP)
        (void)fallocate(q->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)q->rd);
    return 0;
}

const uint8_t *spillq_peek(struct spillq *q, size_t want, size_t *n)
{
    static const uint8_t none[1];
    size_t have = q->mem.len - q->start;
    if (want > PEEK_MAX)
        want = PEEK_MAX;
    if (have < want && q->wr > q->rd) {
        size_t step = q->memmax > want ? q->memmax : want;
        if (refill(q, step - have) < 0)
            return NULL;
        have = q->mem.len - q->start;
    }
    *n = have;
    return have > 0 ? q->mem.p + q->start : none;
}

void spillq_drop(struct spillq *q, size_t n)
{
    q->start += n;
    if (q->start >= q->mem.len)
        q->start = q->mem.len = 0;
}
