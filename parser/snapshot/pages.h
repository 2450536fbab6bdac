/* Memory that is mapped from a file. Pages that were read count as this process's memory until they are given
 * back; reading them again brings them back from the file. */
#ifndef DFP_PAGES_H
#define DFP_PAGES_H

#include <stddef.h>
#include <sys/mman.h>

/* Give pages back after so many bytes of them were read. */
#define PAGES_STEP ((size_t)1 << 20)

struct pages {
    void *p; /* NULL: nothing is mapped */
    size_t n;
};

static inline void pages_drop(const struct pages *g)
{
    if (g->p != NULL)
        (void)madvise(g->p, g->n, MADV_DONTNEED);
}

#endif
