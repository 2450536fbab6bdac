#include "collect.h"

#include <stdlib.h>
#include <unistd.h>

#include "io.h"

#define HEAD ((size_t)4096) /* stays in memory for messages */

struct big *big_new(const struct rec *r, size_t keep)
{
    struct big *b = xcalloc(1, sizeof *b);
    b->first = *r;
    b->fd = -1;
    b->keep = keep;
    b->mem.max = keep > HEAD ? keep : HEAD;
    reqcheck_init(&b->check);
    return b;
}

void big_free(struct big *b)
{
    if (b == NULL)
        return;
    if (b->fd >= 0)
        close(b->fd);
    buf_free(&b->mem);
    args_free(&b->args);
    free(b);
}

/* Move from memory to a file; the first bytes stay in memory, for messages. */
static int to_file(struct big *b, const char *dir, const uint8_t *payload, size_t n)
{
    b->fd = io_tmpfile(dir);
    if (b->fd < 0 || io_write_at(b->fd, b->mem.p, b->mem.len, 0) < 0)
        return -1;
    struct buf head = {.max = HEAD};
    (void)buf_add(&head, b->mem.p, b->mem.len < HEAD ? b->mem.len : HEAD);
    (void)buf_add(&head, payload, n < HEAD - head.len ? n : HEAD - head.len);
    buf_free(&b->mem);
    b->mem = head;
    return 0;
}

const char *big_add(struct big *b, const uint8_t *payload, size_t n, const char *dir, bool *io)
{
    *io = false;
    if (!reqcheck_feed(&b->check, payload, n))
        return "request in several records that is no RESP request";
    b->size += n;
    if (b->size > BIG_MAX)
        b->too_large = true;
    if (b->too_large)
        return NULL;
    *io = true;
    if (b->fd < 0 && b->size > b->keep && to_file(b, dir, payload, n) < 0)
        return "cannot keep a large request";
    if (b->fd >= 0)
        return io_write_at(b->fd, payload, n, b->size - n) < 0 ? "cannot keep a large request" : NULL;
    return buf_add(&b->mem, payload, n) < 0 ? "cannot keep a large request" : NULL;
}

long big_read(const struct big *b, uint64_t at, uint8_t *to, size_t n)
{
    if (n > b->size - at)
        n = (size_t)(b->size - at);
    if (b->fd < 0) {
        memcpy(to, b->mem.p + at, n);
        return (long)n;
    }
    return io_read_at(b->fd, to, n, at) < 0 ? -1 : (long)n;
}
