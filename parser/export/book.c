#include "book.h"

#include <errno.h>
#include <unistd.h>

#include "io.h"
#include "put.h"
#include "../snapshot/rdb.h"

#define BATCH ((size_t)1 << 19) /* entries that are settled at a time */

/* In front of an entry that waits. */
struct waiting {
    struct khash hash;
    uint64_t size;
    uint32_t db, nkey;
};

int book_open(struct book *b, const char *path)
{
    memset(b, 0, sizeof *b);
    b->late.fd = b->hashes.fd = -1;
    return out_open(&b->out, path);
}

/* A file without a name for what is only needed until the end. */
static bool scratch_file(struct book *b, struct out *o)
{
    if (o->fd >= 0)
        return true;
    int fault = o->fault;
    *o =
        (struct out){.fd = fault != 0 ? -1 : io_tmpfile(book_dir(b)), .b = {.max = OUT_LIMIT + 2 * OUT_ROOM}};
    if (o->fd < 0)
        o->fault = fault != 0 ? fault : errno;
    return o->fd >= 0;
}

static void note_hash(struct book *b, struct khash h)
{
    if (b->hashes.fd < 0 && !scratch_file(b, &b->hashes))
        return;
    memcpy(out_room(&b->hashes, sizeof h), &h, sizeof h);
    b->hashes.b.len += sizeof h;
    b->nhashes++;
}

/* Databases of Dragonfly are mixed. */
static void select_db(struct book *b, uint32_t db)
{
    if (b->any && b->db == db)
        return;
    uint8_t *to = out_room(&b->out, 1 + PUT_LEN_MAX), *p = to;
    *p++ = OP_SELECTDB;
    p = put_len(p, db);
    b->out.b.len += (size_t)(p - to);
    b->db = db;
    b->any = true;
}

static struct out *wait_for(struct book *b, uint32_t db, const struct slice *key, struct khash h,
                            uint64_t size)
{
    struct waiting w = {h, size, db, (uint32_t)key->n};
    if (!scratch_file(b, &b->late))
        return &b->late;
    out_add(&b->late, &w, sizeof w);
    out_add(&b->late, key->p, key->n);
    b->nlate++;
    return &b->late;
}

/* Every hash so far, in pieces. False: they cannot be read. */
static bool each_hash(struct book *b, void (*take)(void *ctx, const struct khash *hashes, size_t n),
                      void *ctx)
{
    struct khash block[4096];
    out_flush(&b->hashes);
    for (uint64_t done = 0; done < b->nhashes && b->hashes.fault == 0;) {
        size_t n = b->nhashes - done < 4096 ? (size_t)(b->nhashes - done) : 4096;
        if (io_read_at(b->hashes.fd, block, n * sizeof *block, done * sizeof *block) < 0) {
            b->hashes.fault = errno;
            break;
        }
        take(ctx, block, n);
        done += n;
    }
    return b->hashes.fault == 0;
}

static void put_in(void *ctx, const struct khash *hashes, size_t n)
{
    struct once *once = ctx;
    for (size_t i = 0; i < n; i++) {
        __builtin_prefetch(once_word(once, hashes[i + 16 < n ? i + 16 : i].lo), 1);
        (void)once_first(once, hashes[i].lo);
    }
}

struct out *book_place(struct book *b, uint32_t db, const struct slice *key, struct khash h, uint64_t size)
{
    if (__builtin_expect(b->once.left == 0, 0) && once_grow(&b->once))
        (void)each_hash(b, put_in, &b->once);
    if (__builtin_expect(!once_first(&b->once, h.lo), 0))
        return wait_for(b, db, key, h, size);
    note_hash(b, h);
    select_db(b, db);
    return &b->out;
}

/* ---- the end ---- */

/* Where the entries of a batch begin and end in the file of those that wait. */
struct batch {
    uint64_t from, to;
    struct repeats hashes; /* of its entries */
    struct repeats there;  /* of them, those whose keys the file has */
};

static int read_waiting(const struct book *b, uint64_t at, struct waiting *w)
{
    return io_read_at(b->late.fd, w, sizeof *w, at);
}

static uint64_t next_waiting(uint64_t at, const struct waiting *w)
{
    return at + sizeof *w + w->nkey + w->size;
}

/* Take up to BATCH entries from t->from on. */
static bool take_batch(const struct book *b, struct batch *t, uint64_t end)
{
    struct waiting w;
    t->to = t->from;
    for (size_t i = 0; i < BATCH && t->to < end; i++) {
        if (read_waiting(b, t->to, &w) < 0)
            return false;
        (void)repeats_first(&t->hashes, w.hash);
        t->to = next_waiting(t->to, &w);
    }
    return true;
}

static void look_up(void *ctx, const struct khash *hashes, size_t n)
{
    struct batch *t = ctx;
    for (size_t i = 0; i < n; i++)
        if (repeats_has(&t->hashes, hashes[i]))
            (void)repeats_first(&t->there, hashes[i]);
}

static bool copy_entry(struct book *b, uint64_t at, uint64_t n)
{
    while (n > 0 && b->out.fault == 0) {
        size_t step = n < OUT_LIMIT / 2 ? (size_t)n : OUT_LIMIT / 2;
        uint8_t *to = out_room(&b->out, step);
        if (io_read_at(b->late.fd, to, step, at) < 0)
            return false;
        b->out.b.len += step;
        at += step;
        n -= step;
    }
    return true;
}

static bool report_twice(const struct book *b, struct emit *e, const struct waiting *w, uint64_t at,
                         bool lost)
{
    struct origin o = {.db = w->db};
    uint8_t key[256];
    size_t n = w->nkey < sizeof key ? w->nkey : sizeof key;
    if (io_read_at(b->late.fd, key, n, at) < 0)
        return false;
    emit_report(e, &o, lost, "duplicate-key", key, n,
                lost ? "the file has this key twice: one of the two values is lost"
                     : "the source sent this key twice: the first value is written");
    return true;
}

/* Write those of the batch whose keys are not there. */
static bool write_batch(struct book *b, struct batch *t, struct emit *e, bool lost)
{
    struct waiting w;
    for (uint64_t at = t->from; at < t->to; at = next_waiting(at, &w)) {
        if (read_waiting(b, at, &w) < 0)
            return false;
        uint64_t key = at + sizeof w;
        if (repeats_has(&t->there, w.hash)) {
            if (!report_twice(b, e, &w, key, lost))
                return false;
            continue;
        }
        (void)repeats_first(&t->there, w.hash);
        note_hash(b, w.hash);
        select_db(b, w.db);
        if (!copy_entry(b, key + w.nkey, w.size))
            return false;
    }
    return true;
}

void book_settle(struct book *b, struct emit *e, bool lost)
{
    struct batch t = {.from = 0};
    if (b->nlate == 0 || book_fault(b) != 0)
        return;
    out_flush(&b->late);
    uint64_t end = (uint64_t)lseek(b->late.fd, 0, SEEK_CUR);
    for (bool fine = b->late.fault == 0; fine && t.from < end; t.from = t.to) {
        fine = take_batch(b, &t, end) && each_hash(b, look_up, &t) && write_batch(b, &t, e, lost);
        if (t.hashes.fault != 0 || t.there.fault != 0)
            b->late.fault = t.hashes.fault != 0 ? t.hashes.fault : t.there.fault;
        else if (!fine && book_fault(b) == 0)
            b->late.fault = errno;
        repeats_free(&t.hashes);
        repeats_free(&t.there);
    }
}

int book_fault(const struct book *b)
{
    return b->out.fault != 0 ? b->out.fault : b->late.fault != 0 ? b->late.fault : b->hashes.fault;
}

static void close_scratch(struct out *o)
{
    if (o->fd >= 0)
        close(o->fd);
    buf_free(&o->b);
}

void book_free(struct book *b)
{
    out_free(&b->out);
    close_scratch(&b->late);
    close_scratch(&b->hashes);
    once_free(&b->once);
}
