#include "seen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crc64.h"
#include "io.h"

#define BITS_MIN 16u
#define BITS_MAX 40u
#define MOVES    4u /* places for each addition: three times what is needed */
#define SPREAD   UINT64_C(0x9e3779b97f4a7c15)

uint64_t seen_hash_crc(uint32_t db, uint64_t crc)
{
    uint64_t h = (crc ^ db * UINT64_C(0xd6e8feb86659fd93)) * SPREAD;
    return h != 0 ? h : 1; /* 0 is a free place */
}

uint64_t seen_hash(uint32_t db, const void *key, size_t n)
{
    return seen_hash_crc(db, crc64(SEEN_CRC, key, n));
}

static uint64_t count(const struct places *p)
{
    return UINT64_C(1) << p->bits;
}

/* The disk space is taken at once: a write to mapped memory could not say that there is none. */
static int make(struct places *p, const char *dir, unsigned bits)
{
    size_t size = sizeof(uint64_t) << bits;
    void *at = MAP_FAILED;
    int fd = io_tmpfile(dir);
    int e = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)size);
    if (e == 0)
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) {
        *p = (struct places){.fd = fd, .bits = bits, .slot = at};
        return 0;
    }
    e = e != 0 ? e : errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    return -1;
}

static void drop(struct places *p)
{
    if (p->slot != NULL) {
        (void)munmap(p->slot, count(p) * sizeof *p->slot);
        close(p->fd);
    }
    *p = (struct places){0};
}

int seen_open(struct seen *s, const char *dir)
{
    *s = (struct seen){.dir = dir};
    return make(&s->now, dir, BITS_MIN);
}

void seen_close(struct seen *s)
{
    drop(&s->now);
    drop(&s->before);
    *s = (struct seen){0};
}

/* Its place, or the free one where it belongs. */
static inline uint64_t *place(const struct places *p, uint64_t h)
{
    uint64_t mask = count(p) - 1, i = h >> (64 - p->bits);
    while (p->slot[i] != 0 && p->slot[i] != h)
        i = (i + 1) & mask;
    return &p->slot[i];
}

static inline void put(struct seen *s, uint64_t h)
{
    uint64_t *p = place(&s->now, h);
    s->n += *p == 0;
    *p = h;
}

static int grow(struct seen *s)
{
    struct places twice;
    if (s->now.bits == BITS_MAX) {
        errno = EFBIG;
        return -1;
    }
    if (make(&twice, s->dir, s->now.bits + 1) < 0)
        return -1;
    s->before = s->now;
    s->now = twice;
    s->n = s->moved = 0;
    return 0;
}

static void move_some(struct seen *s)
{
    for (unsigned i = 0; i < MOVES * SEEN_WAITING && s->moved < count(&s->before); i++, s->moved++)
        if (s->before.slot[s->moved] != 0)
            put(s, s->before.slot[s->moved]);
    if (s->moved == count(&s->before))
        drop(&s->before);
}

int seen_settle(struct seen *s)
{
    /* Long done with what was before: three quarters of that many were added since it began to move. */
    if (s->before.slot == NULL && s->n + s->waiting > count(&s->now) / 4 * 3 && grow(s) < 0)
        return -1;
    for (unsigned i = 0; i < s->waiting; i++)
        __builtin_prefetch(&s->now.slot[s->wait[i] >> (64 - s->now.bits)], 1);
    for (unsigned i = 0; i < s->waiting; i++)
        put(s, s->wait[i]);
    s->waiting = 0;
    if (s->before.slot != NULL)
        move_some(s);
    return 0;
}

int seen_has(struct seen *s, uint64_t h)
{
    if (s->waiting > 0 && seen_settle(s) < 0)
        return -1;
    return *place(&s->now, h) == h || (s->before.slot != NULL && *place(&s->before, h) == h);
}
