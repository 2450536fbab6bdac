#include "repeats.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io.h"

#define FIRST ((uint64_t)1 << 8)
#define SMALL ((uint64_t)1 << 16) /* places that need no file */
#define PLACE (2 * sizeof(uint64_t))

/* The disk space is taken at once: a write to mapped memory could not say that there is none. */
static int make(struct repeats *r, uint64_t places)
{
    bool small = places <= SMALL;
    size_t size = (size_t)places * PLACE;
    void *at = MAP_FAILED;
    int e = 0, fd = small ? -1 : io_tmpfile(NULL), how = small ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    if (!small)
        e = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)size);
    if (e == 0 && (at = mmap(NULL, size, PROT_READ | PROT_WRITE, how, fd, 0)) == MAP_FAILED)
        e = errno;
    if (e == 0)
        *r = (struct repeats){.fd = fd, .place = at, .places = places};
    else if (fd >= 0)
        close(fd);
    return e;
}

static uint64_t *find(const struct repeats *r, const uint64_t hash[2])
{
    uint64_t i = hash[1] & (r->places - 1);
    while ((r->place[2 * i] | r->place[2 * i + 1]) != 0 &&
           (r->place[2 * i] != hash[0] || r->place[2 * i + 1] != hash[1]))
        i = (i + 1) & (r->places - 1);
    return &r->place[2 * i];
}

static void put(struct repeats *r, const uint64_t hash[2])
{
    uint64_t *at = find(r, hash);
    at[0] = hash[0];
    at[1] = hash[1];
}

static bool grow(struct repeats *r)
{
    struct repeats more;
    r->fault = make(&more, r->places > 0 ? 2 * r->places : FIRST);
    if (r->fault != 0)
        return false;
    for (uint64_t i = 0; i < r->places; i++)
        if ((r->place[2 * i] | r->place[2 * i + 1]) != 0)
            put(&more, &r->place[2 * i]);
    more.n = r->n;
    repeats_free(r);
    *r = more;
    return true;
}

static void hash_of(uint64_t hash[2], uint32_t db, const void *p, size_t n)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(p, n, db * 0x9e3779b97f4a7c15u);
    hash[0] = h.low64 == 0 && h.high64 == 0 ? 1 : h.low64;
    hash[1] = h.high64;
}

bool repeats_first(struct repeats *r, uint32_t db, const void *p, size_t n)
{
    uint64_t hash[2];
    if (r->fault != 0 || (2 * r->n >= r->places && !grow(r)))
        return true;
    hash_of(hash, db, p, n);
    uint64_t *at = find(r, hash);
    if ((at[0] | at[1]) != 0)
        return false;
    at[0] = hash[0];
    at[1] = hash[1];
    r->n++;
    return true;
}

bool repeats_has(const struct repeats *r, uint32_t db, const void *p, size_t n)
{
    uint64_t hash[2];
    if (r->n == 0)
        return false;
    hash_of(hash, db, p, n);
    const uint64_t *at = find(r, hash);
    return (at[0] | at[1]) != 0;
}

void repeats_clear(struct repeats *r)
{
    if (r->places > FIRST || r->fault != 0)
        repeats_free(r);
    else if (r->n > 0)
        memset(r->place, 0, (size_t)r->places * PLACE);
    r->n = 0;
}

void repeats_free(struct repeats *r)
{
    if (r->place != NULL)
        (void)munmap(r->place, (size_t)r->places * PLACE);
    if (r->place != NULL && r->fd >= 0)
        close(r->fd);
    *r = (struct repeats){.n = 0};
}
