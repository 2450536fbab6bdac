#include "late.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "snapshot/keyset.h"

#define MEMORY ((size_t)256 << 10) /* of keys, before they go to the file */
#define HEAD   8u                  /* database and length in front of a key */

void late_begin(struct late *l, uint64_t now_ms, uint64_t ms)
{
    late_free(l);
    l->from = now_ms;
    l->before = now_ms + ms;
    l->recent = xcalloc(LATE_RECENT, sizeof *l->recent);
}

void late_free(struct late *l)
{
    if (l->stored > 0)
        close(l->fd);
    buf_free(&l->b);
    free(l->recent);
    *l = (struct late){.fd = -1};
}

uint64_t late_time(struct late *l, uint64_t ms)
{
    l->pending = true;
    return (ms > l->from ? ms : l->from) + LATE_MS;
}

/* Those in memory go to the file. */
static void store(struct late *l)
{
    if (l->stored == 0 && (l->fd = io_tmpfile(NULL)) < 0) {
        l->fault = errno;
    } else if (io_write_at(l->fd, l->b.p, l->b.len, l->stored) < 0) {
        l->fault = errno;
    } else {
        l->stored += l->b.len;
        l->b.len = 0;
    }
}

void late_keep(struct late *l, uint32_t db, const uint8_t *key, size_t n)
{
    uint64_t h = keyset_hash(db, key, n);
    uint64_t *seen = &l->recent[h >> 52];
    uint32_t head[2] = {db, (uint32_t)n};
    l->pending = false;
    if (*seen == h || l->fault != 0)
        return;
    *seen = h;
    l->b.max = MEMORY + HEAD + n;
    if (l->b.len > 0 && l->b.len + HEAD + n > MEMORY)
        store(l);
    if (l->fault == 0 && (buf_add(&l->b, head, sizeof head) < 0 || buf_add(&l->b, key, n) < 0))
        l->fault = ENOBUFS;
    l->count++;
}

void late_swap(struct late *l, uint32_t a, uint32_t b)
{
    uint32_t both[2] = {a, b};
    for (unsigned k = 0; k < 2 && l->count > 0; k++) {
        unsigned i = 0;
        while (i < l->nswapped && l->swapped[i] != both[k])
            i++;
        if (i == LATE_SWAPS)
            l->fault = E2BIG; /* times in the others would stay wrong */
        else if (i == l->nswapped)
            l->swapped[l->nswapped++] = both[k];
    }
}

typedef bool take_key(void *ctx, uint32_t db, const uint8_t *key, size_t n);

/* Those at p. Returns how many bytes were whole keys; *more false: take has had enough. */
static size_t hand_out(const uint8_t *p, size_t n, take_key *take, void *ctx, bool *more)
{
    size_t at = 0;
    while (*more && n - at >= HEAD) {
        uint32_t head[2];
        memcpy(head, p + at, sizeof head);
        if (n - at - HEAD < head[1])
            break;
        *more = take(ctx, head[0], p + at + HEAD, head[1]);
        at += HEAD + head[1];
    }
    return at;
}

int late_each(struct late *l, take_key *take, void *ctx)
{
    struct buf in = {.max = (size_t)64 << 20};
    bool more = true;
    int rc = 0;
    errno = l->fault;
    for (uint64_t at = 0; at < l->stored && more && rc == 0;) {
        size_t step = l->stored - at < MEMORY ? (size_t)(l->stored - at) : MEMORY;
        uint8_t *to = buf_room(&in, step);
        rc = to == NULL ? -1 : io_read_at(l->fd, to, step, at);
        if (rc != 0)
            break;
        in.len += step;
        at += step;
        buf_shift(&in, hand_out(in.p, in.len, take, ctx, &more));
    }
    if (rc == 0 && more)
        (void)hand_out(l->b.p, l->b.len, take, ctx, &more);
    buf_free(&in);
    return l->fault != 0 ? -1 : rc;
}
