/* A file that is made of a flow: the same from pieces, and made anew of itself it stays as it is. First byte:
 * the target; second: kind of flow; third: seed of the pieces. */
#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "../../parser/export/export.h"
#include "../../parser/flow.h"

#define TOKEN "0123456789012345678901234567890123456789"

static char path[64];

static int feed(struct flow *f, struct emit *e, const uint8_t *p, size_t n, uint32_t seed)
{
    int rc = 0;
    for (size_t at = 0; at < n && rc == 0 && !e->refused;) {
        size_t step = n - at;
        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            if (step > 1 + (seed >> 8) % 300)
                step = 1 + (seed >> 8) % 300;
        }
        uint8_t *q = fuzz_exact(p + at, step);
        rc = flow_feed(f, e, q, step, at, NOW_MS * 1000);
        free(q);
        at += step;
    }
    return rc;
}

/* Into b; false: there is no file. */
static bool make(uint8_t choice, uint8_t kind, uint32_t seed, const uint8_t *p, size_t n, struct buf *b)
{
    static const char *const targets[] = {"4.0", "5.0", "7.2", "7.4", "8.6", "valkey-8", "valkey-9", "7.0"};
    struct emit e;
    struct flow f;
    emit_init(&e, -1, EMIT_OUTLET);
    HOLDS(target_parse(&e.target, targets[choice % 8]));
    e.now_ms = NOW_MS;
    e.unsupported = (choice & 64) != 0 ? UNSUPPORTED_APPROXIMATE : UNSUPPORTED_REPORT;
    if ((choice & 128) != 0)
        target_modules(&e.target, "ReJSON,vectorset");
    struct export *x = export_open(path, &e.target);
    HOLDS(x != NULL);
    flow_init(&f, 0);
    f.to.outlet = export_outlet(x);
    f.to.outlet->live = kind % 2 != 0;
    flow_begin(&f, 1, kind % 2 == 0, kind % 2 != 0, 1, 0, kind % 2 != 0 ? TOKEN : NULL);
    bool made = feed(&f, &e, p, n, seed) == 0 && f.to.synced && !e.refused;
    if (made) {
        HOLDS(export_finish(x, &e, false) == 0);
        int fd = open(path, O_RDONLY);
        off_t size = lseek(fd, 0, SEEK_END);
        b->len = 0;
        HOLDS(fd >= 0 && buf_room(b, (size_t)size) != NULL && pread(fd, b->p, (size_t)size, 0) == size);
        b->len = (size_t)size;
        close(fd);
        HOLDS(unlink(path) == 0);
    }
    flow_free(&f);
    export_free(x);
    emit_free(&e);
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf whole, split, again;
    if (size < 3)
        return 0;
    if (path[0] == '\0')
        snprintf(path, sizeof path, "/tmp/fuzz_export.%d", (int)getpid());
    bool made = make(data[0], data[1], 0, data + 3, size - 3, &whole);
    HOLDS(make(data[0], data[1], data[2] + 1u, data + 3, size - 3, &split) == made);
    if (!made)
        return 0;
    HOLDS(whole.len == split.len && memcmp(whole.p, split.p, whole.len) == 0);
    HOLDS(make(data[0], 0, 0, whole.p, whole.len, &again));
    HOLDS(whole.len == again.len && memcmp(whole.p, again.p, whole.len) == 0);
    return 0;
}
