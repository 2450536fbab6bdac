/* The bytes of one flow: fed at once and in random pieces, both must mean the same. First byte: target and
 * sizes; second: kind of flow; third: seed of the pieces, with more about the target and a selection in its
 * upper half. */
#include "fuzz.h"

#include "../../parser/flow.h"

static int feed(struct emit *e, const uint8_t *p, size_t n, uint8_t kind, unsigned more, uint32_t seed)
{
    struct flow f;
    flow_init(&f, 0);
    f.to.filter = fuzz_filter(more);
    flow_begin(&f, 1, kind % 3 == 1, kind % 3 == 0, 1 + kind % 2, kind % 3 == 2 ? 100 : 0, NULL);
    int rc = 0;
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
        if (e->refused) /* what is damaged behind that is not looked at */
            rc = 1;
    }
    if (rc == 0)
        rc = flow_end(&f, false);
    flow_free(&f);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf whole, split;
    struct emit e;
    if (size < 3)
        return 0;
    unsigned more = data[2] >> 4;
    fuzz_emit(&e, data[0], more);
    int rc = feed(&e, data + 3, size - 3, data[1], more, 0);
    fuzz_canon(&e, &whole);
    fuzz_emit(&e, data[0], more);
    int rc2 = feed(&e, data + 3, size - 3, data[1], more, data[2] + 1u);
    fuzz_canon(&e, &split);
    HOLDS(rc == rc2);
    if (rc == 0) {
        HOLDS(whole.len == split.len);
        HOLDS(memcmp(whole.p, split.p, whole.len) == 0);
    }
    return 0;
}
