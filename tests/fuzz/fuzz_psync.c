/* A flow of a Redis or Valkey. First byte: target and sizes; second: bit 0 a full sync, bit 1 commands that
 * are made here from the rest, in the upper bits a selection and more about the target; third: seed of the
 * pieces. Bytes are fed at once and in pieces: both must mean the same. Commands are number of arguments,
 * (length, bytes) each: whatever becomes of one, its position is reached by its last record. */
#include "fuzz.h"

#include "../../common/crc64.h"
#include "../../common/psync.h"
#include "../../common/resp.h"
#include "../../parser/flow.h"

#define START psync_position(1000, 0)

static void begin(struct flow *f, uint8_t kind, unsigned more)
{
    flow_init(f, 0);
    f->to.filter = fuzz_filter(more);
    flow_begin(f, 1, false, true, 1, (kind & 1) != 0 ? 0 : START, NULL);
    flow_of_redis(f, START);
    f->to.own_master = true;
}

static int feed(struct emit *e, const uint8_t *p, size_t n, uint8_t kind, unsigned more, uint32_t seed)
{
    struct flow f;
    int rc = 0;
    begin(&f, kind, more);
    for (size_t at = 0; at < n && rc == 0;) {
        size_t step = n - at;
        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            size_t most = (seed >> 28) < 8 ? 4 : 300;
            if (step > 1 + (seed >> 8) % most)
                step = 1 + (seed >> 8) % most;
        }
        uint8_t *q = fuzz_exact(p + at, step);
        rc = flow_feed(&f, e, q, step, at, NOW_MS * 1000);
        free(q);
        at += step;
        if (e->refused)
            rc = 1;
    }
    if (rc == 0)
        rc = flow_end(&f, false);
    flow_free(&f);
    return rc;
}

static void both_ways(const uint8_t *data, size_t size, unsigned more)
{
    static struct buf whole, split;
    struct emit e;
    fuzz_emit(&e, data[0], more);
    int rc = feed(&e, data + 3, size - 3, data[1], more, 0);
    fuzz_canon(&e, &whole);
    fuzz_emit(&e, data[0], more);
    int rc2 = feed(&e, data + 3, size - 3, data[1], more, data[2] + 1u);
    fuzz_canon(&e, &split);
    HOLDS(rc == rc2);
    if (rc != 0)
        return;
    HOLDS(whole.len == split.len);
    HOLDS(memcmp(whole.p, split.p, whole.len) == 0);
}

/* A footer that fits, so that RESTORE gets further. */
static void sign(uint8_t *p, size_t n)
{
    if (n < 11)
        return;
    uint64_t crc = crc64(0, p, n - 8);
    memcpy(p + n - 8, &crc, 8);
}

/* One command of the input. Returns whether there was one. */
static bool command(const uint8_t **p, const uint8_t *end, struct buf *b)
{
    if (end - *p < 2)
        return false;
    size_t argc = 1 + *(*p)++ % 24u;
    bool restore = false;
    (void)resp_add_array(b, argc);
    for (size_t i = 0; i < argc; i++) {
        size_t n = *p < end ? *(*p)++ : 0;
        if (n > (size_t)(end - *p))
            n = (size_t)(end - *p);
        (void)resp_add_bulk(b, *p, n);
        restore |= i == 0 && n >= 7 && memcmp(*p, "RESTORE", 7) == 0;
        if (restore && i == 3)
            sign(b->p + b->len - 2 - n, n);
        *p += n;
    }
    return true;
}

static void one_by_one(const uint8_t *data, size_t size, unsigned more)
{
    static struct buf text, bytes;
    struct flow f;
    struct emit e;
    const uint8_t *p = data + 3;
    uint64_t offset = psync_offset(START);
    fuzz_emit(&e, data[0], more);
    e.target.cluster = (data[1] & 4) != 0;
    e.publish = (data[2] & 1) != 0;
    begin(&f, 0, more);
    for (bytes.len = 0; command(&p, data + size, &bytes); bytes.len = 0) {
        offset += bytes.len;
        if (flow_feed(&f, &e, bytes.p, bytes.len, f.offset + f.carry.len, NOW_MS * 1000) < 0 || e.refused)
            break;           /* a database that cannot be, or that a cluster does not have */
        if (f.carry.len > 0) /* a transaction without its EXEC */
            continue;
        HOLDS(psync_offset(f.to.next_lsn) == offset);
        HOLDS(f.to.in_multi || f.to.o.pos == f.to.next_lsn);
    }
    flow_free(&f);
    fuzz_canon(&e, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    unsigned more = data[1] >> 4;
    if ((data[1] & 2) != 0)
        one_by_one(data, size, more);
    else
        both_ways(data, size, more);
    return 0;
}
