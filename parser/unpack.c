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

/* Unpack into fd, piece by piece behind a window of what came before. */
static bool to_file(struct unpacked *u, const struct pstr *ps, int fd)
{
    const uint8_t *in = ps->p, *end = ps->p + ps->clen;
    const size_t cap = LZF_WINDOW + PIECE + LZF_STEP;
    uint8_t *b = buf_room(&u->mem, cap);
    uint64_t done = 0;
    for (size_t len = 0; in < end;) {
        size_t kept = len < LZF_WINDOW ? len : LZF_WINDOW;
        memmove(b, b + len - kept, kept);
        len = kept;
        if (lzf_continue(&in, end, b, &len, cap) < 0 || done + (len - kept) > ps->n)
            return false;
        if (io_write_at(fd, b + kept, len - kept, done) < 0) {
            u->fault = errno;
            return false;
        }
        done += len - kept;
    }
    return done == ps->n;
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
