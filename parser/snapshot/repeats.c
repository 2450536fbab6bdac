#include "repeats.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"

#define FIRST ((uint64_t)1 << 8)
#define SMALL ((uint64_t)1 << 16) /* places that need no file */
#define PLACE sizeof(struct khash)

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

static bool is_free(const struct khash *place)
{
    return (place->lo | place->hi) == 0;
}

static struct khash *find(const struct repeats *r, struct khash h)
{
    uint64_t i = h.hi & (r->places - 1);
    while (!is_free(&r->place[i]) && (r->place[i].lo != h.lo || r->place[i].hi != h.hi))
        i = (i + 1) & (r->places - 1);
    return &r->place[i];
}

static bool grow(struct repeats *r)
{
    struct repeats more;
    r->fault = make(&more, r->places > 0 ? 2 * r->places : FIRST);
    if (r->fault != 0)
        return false;
    for (uint64_t i = 0; i < r->places; i++)
        if (!is_free(&r->place[i]))
            *find(&more, r->place[i]) = r->place[i];
    more.n = r->n;
    repeats_free(r);
    *r = more;
    return true;
}

bool repeats_first(struct repeats *r, struct khash h)
{
    if (r->fault != 0 || (2 * r->n >= r->places && !grow(r)))
        return true;
    struct khash *at = find(r, h);
    if (!is_free(at))
        return false;
    *at = h;
    r->n++;
    return true;
}

bool repeats_has(const struct repeats *r, struct khash h)
{
    return r->n > 0 && !is_free(find(r, h));
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
