#include "unpack.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

#define PIECE ((size_t)256 << 10)

void unpack_drop(struct unpacked *u)
{
    if (u->map != NULL)
        munmap(u->map, u->mapped);
    u->map = NULL;
}

void unpack_free(struct unpacked *u)
{
    unpack_drop(u);
    buf_free(&u->mem);
}

int lzf_piece(struct lzf_pieces *z, size_t most, struct slice *piece)
{
    const size_t cap = LZF_WINDOW + most + LZF_STEP;
    size_t kept = z->len < LZF_WINDOW ? z->len : LZF_WINDOW;
    uint8_t *b = buf_room(z->b, cap);
    if (b == NULL)
        return -1;
    if (z->in >= z->end)
        return 0;
    memmove(b, b + z->len - kept, kept);
    z->len = kept;
    if (lzf_continue(&z->in, z->end, b, &z->len, cap) < 0)
        return -1;
    *piece = (struct slice){b + kept, z->len - kept};
    return 1;
}

/* Unpack into fd. */
static bool to_file(struct unpacked *u, const struct pstr *ps, int fd)
{
    struct lzf_pieces z = {.in = ps->p, .end = ps->p + ps->clen, .b = &u->mem};
    struct slice piece;
    uint64_t done = 0;
    int rc;
    while ((rc = lzf_piece(&z, PIECE, &piece)) > 0 && done + piece.n <= ps->n) {
        if (io_write_at(fd, piece.p, piece.n, done) < 0) {
            u->fault = errno;
            return false;
        }
        done += piece.n;
    }
    return rc == 0 && done == ps->n;
}

static bool unpack_mapped(struct unpacked *u, const struct pstr *ps)
{
    int fd = io_tmpfile(NULL);
    if (fd < 0) {
        u->fault = errno;
        return false;
    }
    bool ok = to_file(u, ps, fd);
    if (ok) {
        void *m = mmap(NULL, ps->n, PROT_READ, MAP_SHARED, fd, 0);
        ok = m != MAP_FAILED;
        if (ok) {
            (void)madvise(m, ps->n, MADV_SEQUENTIAL);
            u->map = m;
            u->mapped = ps->n;
        } else {
            u->fault = errno;
        }
    }
    close(fd);
    return ok;
}

bool unpack(struct unpacked *u, const struct pstr *ps, struct slice *out)
{
    unpack_drop(u);
    u->mem.len = 0;
    if (ps->n > UNPACK_MEM) {
        if (!unpack_mapped(u, ps))
            return false;
        *out = (struct slice){u->map, ps->n};
        return true;
    }
    uint8_t *to = buf_room(&u->mem, ps->n);
    *out = (struct slice){to, ps->n};
    return to != NULL && lzf_unpack(ps->p, ps->clen, to, ps->n) == 0;
}
