#include "once.h"

#include <sys/mman.h>

#include "exits.h"
#include "fatal.h"

/* Looked up anywhere: with small pages each look-up would miss twice. */
static uint64_t *new_table(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        fatal_errno(EXIT_CANNOT, "memory for %zu bytes", bytes);
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

bool once_grow(struct once *s)
{
    size_t bytes = s->words == 0 ? ONCE_FIRST : 2 * s->words * sizeof *s->table;
    if (bytes > ONCE_MEM) {
        s->left = UINT64_MAX;
        return false;
    }
    once_free(s);
    s->table = new_table(bytes);
    s->words = bytes / sizeof *s->table;
    s->left = bytes * 8 / 12;
    return true;
}

void once_free(struct once *s)
{
    if (s->words > 0)
        munmap(s->table, s->words * sizeof *s->table);
    *s = (struct once){.words = 0};
}
