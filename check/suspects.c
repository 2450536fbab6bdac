#include "suspects.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"

#define BLOCK ((size_t)64 << 10)

void suspects_init(struct suspects *s)
{
    *s = (struct suspects){.fd = -1};
}

void suspects_free(struct suspects *s)
{
    if (s->fd >= 0)
        close(s->fd);
    buf_free(&s->buf);
    suspects_init(s);
}

static void flush(struct suspects *s)
{
    if (s->fd < 0)
        s->fd = io_tmpfile(NULL);
    if (s->fd < 0 || io_write_at(s->fd, s->buf.p, s->buf.len, s->written) < 0)
        fatal_errno(EXIT_CANNOT, "keys to be looked at again cannot be kept in a file");
    s->written += s->buf.len;
    s->buf.len = 0;
}

void suspects_add(struct suspects *s, const struct suspect *x, const void *source_name,
                  const void *target_name)
{
    if (buf_add(&s->buf, x, sizeof *x) < 0 || buf_add(&s->buf, source_name, x->len[0]) < 0 ||
        buf_add(&s->buf, target_name, x->len[1]) < 0)
        fatal(EXIT_CANNOT, "a key is too long");
    s->n++;
    if (s->buf.len >= BLOCK)
        flush(s);
}

void suspects_rewind(struct suspects *s)
{
    if (s->buf.len > 0)
        flush(s);
    s->read = 0;
    s->at = 0;
}

/* n bytes of the file, from the block that is in memory or the next ones. */
static const uint8_t *peek(struct suspects *s, size_t n)
{
    uint64_t left = s->written - s->read;
    if (s->buf.len - s->at >= n)
        return s->buf.p + s->at;
    buf_shift(&s->buf, s->at);
    s->at = 0;
    size_t want = n - s->buf.len > BLOCK ? n - s->buf.len : BLOCK, more = left < want ? (size_t)left : want;
    uint8_t *to = buf_room(&s->buf, more);
    if (to == NULL || io_read_at(s->fd, to, more, s->read) < 0)
        fatal_errno(EXIT_CANNOT, "keys to be looked at again cannot be read");
    s->buf.len += more;
    s->read += more;
    return s->buf.len >= n ? s->buf.p : NULL;
}

const uint8_t *suspects_next(struct suspects *s, struct suspect *x)
{
    const uint8_t *p = s->written == 0 ? NULL : peek(s, sizeof *x);
    if (p == NULL)
        return NULL;
    memcpy(x, p, sizeof *x);
    size_t n = sizeof *x + x->len[0] + x->len[1];
    p = peek(s, n);
    if (p == NULL)
        fatal(EXIT_CANNOT, "the file of keys to be looked at again is cut short");
    s->at += n;
    return p + sizeof *x;
}

void suspects_read(struct suspect_reader *r, struct suspects *list)
{
    suspects_free(&r->list);
    r->list = *list;
    suspects_init(list);
    suspects_rewind(&r->list);
    suspects_pass(r);
}

void suspects_pass(struct suspect_reader *r)
{
    r->names = suspects_next(&r->list, &r->next);
}
