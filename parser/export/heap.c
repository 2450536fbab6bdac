#include "heap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io.h"

/* Memory of all values together, and the least and most of one. */
#define MEM_ALL   ((size_t)4 << 20)
#define MEM_LEAST ((size_t)1 << 10)
#define MEM_MOST  ((size_t)256 << 10)

struct piece {
    uint64_t at, n;
};

void heap_init(struct heap *h, const char *dir)
{
    *h = (struct heap){.dir = dir, .fd = -1};
}

void heap_free(struct heap *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
}

void heaped_begin(struct heap *h, struct heaped *v)
{
    v->mem.max = MEM_MOST;
    v->mem.len = v->pieces.len = 0;
    v->n = 0;
    h->users++;
}

static size_t share(const struct heap *h)
{
    size_t n = MEM_ALL / (h->users + 1);
    return n < MEM_LEAST ? MEM_LEAST : n > MEM_MOST ? MEM_MOST : n;
}

static void to_file(struct heap *h, struct heaped *v, const void *p, size_t n)
{
    struct piece piece = {h->end, n};
    if (h->fault != 0 || n == 0)
        return;
    if (h->fd < 0)
        h->fd = io_tmpfile(h->dir);
    if (h->fd < 0 || io_write_at(h->fd, p, n, h->end) < 0) {
        h->fault = errno;
        return;
    }
    if (buf_add(&v->pieces, &piece, sizeof piece) < 0) {
        h->fault = EFBIG;
        return;
    }
    h->filed += v->pieces.len == sizeof piece;
    h->end += n;
}

void heaped_add(struct heap *h, struct heaped *v, const void *p, size_t n)
{
    v->n += n;
    if (v->mem.len + n > share(h)) {
        to_file(h, v, v->mem.p, v->mem.len);
        v->mem.len = 0;
    }
    if (n > share(h))
        to_file(h, v, p, n);
    else if (buf_add(&v->mem, p, n) < 0)
        h->fault = EFBIG;
}

static void copy_piece(struct heap *h, const struct piece *piece, struct out *o)
{
    uint64_t at = piece->at, left = piece->n;
    while (left > 0 && h->fault == 0 && o->fault == 0) {
        size_t n = left < OUT_LIMIT / 2 ? (size_t)left : OUT_LIMIT / 2;
        uint8_t *to = out_room(o, n);
        if (io_read_at(h->fd, to, n, at) < 0) {
            h->fault = errno;
            return;
        }
        o->b.len += n;
        at += n;
        left -= n;
    }
}

void heaped_write(struct heap *h, const struct heaped *v, struct out *o)
{
    struct piece piece;
    for (size_t i = 0; i < v->pieces.len; i += sizeof piece) {
        memcpy(&piece, v->pieces.p + i, sizeof piece);
        copy_piece(h, &piece, o);
    }
    out_add(o, v->mem.p, v->mem.len);
}

/* Room on the disk comes back as values are written, not only when none is left. */
void heaped_end(struct heap *h, struct heaped *v)
{
    struct piece piece;
    h->users--;
    h->filed -= v->pieces.len > 0;
    for (size_t i = 0; i < v->pieces.len && h->filed > 0; i += sizeof piece) {
        memcpy(&piece, v->pieces.p + i, sizeof piece);
        (void)fallocate(h->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)piece.at, (off_t)piece.n);
    }
    if (h->filed == 0 && h->end > 0) {
        if (ftruncate(h->fd, 0) != 0 && h->fault == 0)
            h->fault = errno;
        h->end = 0;
    }
    v->mem.len = v->pieces.len = 0;
}

void heaped_free(struct heaped *v)
{
    buf_free(&v->mem);
    buf_free(&v->pieces);
}
