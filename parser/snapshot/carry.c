#include "carry.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

void carry_init(struct carry *c)
{
    *c = (struct carry){.fd = -1};
    c->mem.max = CARRY_MEM + 2 * ((size_t)1 << 20);
}

static void unmap(struct carry *c)
{
    if (c->map != NULL)
        munmap(c->map, c->mapped);
    c->map = NULL;
}

void carry_free(struct carry *c)
{
    unmap(c);
    if (c->fd >= 0)
        close(c->fd);
    buf_free(&c->mem);
    carry_init(c);
}

static int to_file(struct carry *c)
{
    c->fd = io_tmpfile(NULL);
    if (c->fd < 0 || io_write_at(c->fd, c->mem.p, c->mem.len, 0) < 0)
        return -1;
    buf_free(&c->mem);
    return 0;
}

int carry_add(struct carry *c, const uint8_t *p, size_t n)
{
    if (c->fd < 0 && c->need > CARRY_MEM && to_file(c) < 0)
        return -1;
    if (c->fd >= 0) {
        if (io_write_at(c->fd, p, n, c->len) < 0)
            return -1;
    } else if (buf_add(&c->mem, p, n) < 0) {
        errno = ENOBUFS;
        return -1;
    }
    c->len += n;
    return 0;
}

const uint8_t *carry_bytes(struct carry *c)
{
    if (c->fd < 0)
        return c->mem.p;
    void *m = mmap(NULL, (size_t)c->len, PROT_READ, MAP_SHARED, c->fd, 0);
    if (m == MAP_FAILED)
        return NULL;
    (void)madvise(m, (size_t)c->len, MADV_SEQUENTIAL);
    c->map = m;
    c->mapped = (size_t)c->len;
    return c->map;
}

int carry_keep(struct carry *c, uint64_t used, uint64_t need)
{
    uint64_t rest = c->len - used;
    c->need = need;
    if (c->fd < 0) {
        buf_shift(&c->mem, (size_t)used);
        c->len = rest;
        return 0;
    }
    if (used == 0) { /* more of the same item is needed */
        unmap(c);
        return 0;
    }
    /* What follows a large item is at most one record's worth. */
    int rc = buf_add(&c->mem, c->map + used, (size_t)rest);
    unmap(c);
    close(c->fd);
    c->fd = -1;
    c->len = rest;
    if (rc < 0)
        errno = ENOBUFS;
    return rc;
}
