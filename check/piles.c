#include "piles.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"

#define BLOCK ((size_t)16 << 10)

void piles_init(struct piles *p, unsigned shift)
{
    memset(p, 0, sizeof *p);
    p->fd = -1;
    p->shift = shift;
}

void piles_free(struct piles *p)
{
    for (unsigned i = 0; i < PILES; i++) {
        buf_free(&p->pile[i].buf);
        free(p->pile[i].block);
    }
    if (p->fd >= 0)
        close(p->fd);
    piles_init(p, 0);
}

static void no_room(void)
{
    fatal_errno(EXIT_CANNOT, "keys cannot be kept in a file ($TMPDIR)");
}

static void flush(struct piles *p, struct pile *pile)
{
    unsigned n = pile->blocks;
    if (p->fd < 0)
        p->fd = io_tmpfile(NULL);
    if (p->fd < 0 || io_write_at(p->fd, pile->buf.p, pile->buf.len, p->end) < 0)
        no_room();
    if ((n & (n - 1)) == 0)
        pile->block = xrealloc(pile->block, (n == 0 ? 1 : 2 * n) * sizeof *pile->block);
    pile->block[pile->blocks++] = (struct pile_block){.at = p->end, .n = (uint32_t)pile->buf.len};
    p->end += pile->buf.len;
    pile->buf.len = 0;
    buf_trim(&pile->buf, BLOCK);
}

void piles_add(struct piles *p, uint64_t hash, const struct entry *e)
{
    struct pile *pile = &p->pile[hash << p->shift >> (64 - PILES_BITS)];
    if (pile->buf.len > 0 && pile->buf.len + e->size > BLOCK)
        flush(p, pile);
    if (buf_add(&pile->buf, e, e->size) < 0)
        fatal(EXIT_CANNOT, "a key is too long");
    pile->bytes += e->size;
    p->entries++;
}

void piles_close(struct piles *p)
{
    for (unsigned i = 0; i < PILES; i++) {
        if (p->pile[i].buf.len > 0)
            flush(p, &p->pile[i]);
        buf_free(&p->pile[i].buf);
    }
}

static void read_block(const struct piles *p, const struct pile_block *k, struct buf *b)
{
    uint8_t *to = buf_room(b, k->n);
    if (to == NULL)
        fatal(EXIT_CANNOT, "keys that are kept in a file take too much memory");
    if (io_read_at(p->fd, to, k->n, k->at) < 0)
        fatal_errno(EXIT_CANNOT, "keys that are kept in a file cannot be read");
    b->len += k->n;
}

void piles_load(const struct piles *p, unsigned i, struct buf *b)
{
    const struct pile *pile = &p->pile[i];
    for (unsigned k = 0; k < pile->blocks; k++)
        read_block(p, &pile->block[k], b);
}

static void each_of(const struct buf *b, void (*each)(void *ctx, const struct entry *e), void *ctx)
{
    for (size_t at = 0; at < b->len;) {
        const struct entry *e = (const struct entry *)(const void *)(b->p + at);
        each(ctx, e);
        at += e->size;
    }
}

void piles_each(const struct piles *p, unsigned i, struct buf *scratch,
                void (*each)(void *ctx, const struct entry *e), void *ctx)
{
    const struct pile *pile = &p->pile[i];
    for (unsigned k = 0; k < pile->blocks; k++) {
        scratch->len = 0;
        read_block(p, &pile->block[k], scratch);
        each_of(scratch, each, ctx);
    }
}
