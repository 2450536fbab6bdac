/* Journal entries with arbitrary arguments: whatever becomes of one, its position is reached by its last
 * record. First byte: target and sizes; second: release of the source, and in the upper bits a selection and
 * more about the target; then entries: op, number of arguments, (length, bytes) each. */
#include "fuzz.h"

#include "../unit/canon.h"
#include "../../common/crc64.h"
#include "../../parser/flow.h"

static void add_plen(struct buf *b, uint64_t v)
{
    uint8_t t[5] = {0x80, (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    (void)buf_add(b, t, sizeof t);
}

/* A footer that fits, so that RESTORE gets further. */
static void sign(uint8_t *p, size_t n)
{
    if (n < 11)
        return;
    uint64_t crc = crc64(0, p, n - 8);
    memcpy(p + n - 8, &crc, 8);
}

/* Take one entry from the input and append it as the master would write it. Returns whether there was one. */
static bool entry(const uint8_t **p, const uint8_t *end, struct buf *b)
{
    struct slice argv[256];
    size_t argc, total = 0;
    if (end - *p < 3)
        return false;
    uint8_t op = *(*p)++;
    argc = 1 + *(*p)++ % 24u;
    for (size_t i = 0; i < argc; i++) {
        size_t n = *p < end ? *(*p)++ : 0;
        if (n > (size_t)(end - *p))
            n = (size_t)(end - *p);
        argv[i] = (struct slice){*p, n};
        *p += n;
        total += n;
    }
    static const uint8_t ops[] = {10, 10, 10, 10, 9, 11, 12, 13};
    op = ops[op & 7];
    (void)buf_add(b, &op, 1);
    if (op == 13)
        return true;
    add_plen(b, total % 3); /* transactions */
    add_plen(b, 1);
    if (op == 12)
        return true;
    add_plen(b, argc);
    add_plen(b, total);
    bool restore = argc > 3 && argv[0].n == 7 && memcmp(argv[0].p, "RESTORE", 7) == 0;
    for (size_t i = 0; i < argc; i++) {
        add_plen(b, argv[i].n);
        (void)buf_add(b, argv[i].p, argv[i].n);
        if (restore && i == 3)
            sign(b->p + b->len - argv[i].n, argv[i].n);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf text, bytes;
    struct flow f;
    struct emit e;
    if (size < 3)
        return 0;
    unsigned more = data[1] >> 5 | (data[0] & 16) >> 1;
    fuzz_emit(&e, data[0], more);
    flow_init(&f, 0);
    f.to.filter = fuzz_filter(more);
    flow_begin(&f, 1, false, (data[1] & 1) != 0, 1 + (data[1] >> 1 & 1), 100, NULL);
    e.target.cluster = (data[1] & 4) != 0;
    f.to.dialect = dialect_dragonfly(VERSION(1, 20 + (data[1] & 31) % 21));
    const uint8_t *p = data + 2;
    uint64_t count = 0;
    bytes.len = 0;
    while (entry(&p, data + size, &bytes)) {
        count++;
        size_t before = f.to.o.seq;
        HOLDS(flow_feed(&f, &e, bytes.p, bytes.len, f.offset, NOW_MS * 1000) == 0);
        if (e.refused) /* a database that a cluster does not have */
            break;
        HOLDS(f.carry.len == 0);
        HOLDS(f.to.next_lsn == 100 + count);
        bool kept = bytes.p[0] == 11;
        HOLDS(kept ? f.to.o.seq == before : f.to.o.seq > before);
        if (!kept)
            HOLDS(f.to.o.pos == (f.journal.multis == NULL ? f.to.next_lsn : 0));
        bytes.len = 0;
    }
    flow_free(&f);
    fuzz_canon(&e, &text);
    return 0;
}
