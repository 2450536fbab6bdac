#include "ring.h"

#include <err.h>
#include <sys/mman.h>
#include <unistd.h>

void ring_init(struct ring *r, size_t size)
{
    int fd = memfd_create("df2redis-ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        err(1, "memory for the output ring");
    uint8_t *p = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED ||
        mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        mmap(p + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        err(1, "memory for the output ring");
    close(fd);
    *r = (struct ring){.p = p, .size = size};
}

void ring_free(struct ring *r)
{
    if (r->p != NULL)
        (void)munmap(r->p, 2 * r->size);
    *r = (struct ring){0};
}
