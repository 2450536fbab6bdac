/* Growable byte buffers with an upper bound: the only way this project keeps variable amounts of memory. */
#ifndef DF_BUF_H
#define DF_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    uint8_t *p;
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* bound; 0 = none has been set, which is taken as BUF_DEFAULT_MAX */
};

#define BUF_DEFAULT_MAX ((size_t)64 << 20)

/* Allocate, or end the process with status 1 if there is no memory. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);

/* Make room for n more bytes behind len. Returns where they go, or NULL when that would pass the bound. */
uint8_t *buf_room_slow(struct buf *b, size_t n);

static inline uint8_t *buf_room(struct buf *b, size_t n)
{
    if (b->cap - b->len >= n && b->p != NULL)
        return b->p + b->len;
    return buf_room_slow(b, n);
}

/* Append n bytes. Returns 0, or -1 when that would pass the bound. */
static inline int buf_add(struct buf *b, const void *data, size_t n)
{
    uint8_t *to = buf_room(b, n);
    if (to == NULL)
        return -1;
    if (n > 0)
        memcpy(to, data, n);
    b->len += n;
    return 0;
}

int buf_addstr(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Remove the first n bytes. */
void buf_shift(struct buf *b, size_t n);

/* Give memory above keep bytes back once the buffer is empty. */
void buf_trim(struct buf *b, size_t keep);

void buf_free(struct buf *b);

#endif
