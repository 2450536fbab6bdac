/* Append-only files. First byte: what the rest is. 0: a manifest, as dfreader reads it. 1: an annotation, and
 * a request that may look cut. Else files of a flow, as dfparse reads them: bit 2 a snapshot may be the
 * beginning, bit 3 --truncated ok, bit 4 --until-time, bits 5 and 6 how the target is; second byte where the
 * first file ends, third the seed of the pieces. The bytes are fed at once and in pieces: both must mean the
 * same. */
#include "fuzz.h"

#include "../../parser/flow.h"
#include "../../reader/file/aof_manifest.c"

static void manifest(const uint8_t *p, size_t n)
{
    struct aof_manifest m, again;
    struct buf text = {0};
    const char *fault = aof_manifest_parse(&m, p, n);
    HOLDS(m.at <= n);
    unsigned bases = 0;
    for (size_t i = 0; i < m.n; i++) {
        const struct aof_entry *e = &m.v[i];
        HOLDS(e->name[0] != '\0' && strchr(e->name, '/') == NULL && strlen(e->name) < AOF_LINE_MAX);
        HOLDS(e->line >= 1 && e->line <= m.line && strchr("bih", e->type) != NULL);
        bases += e->type == 'b';
        /* What was read is read back as it was. */
        (void)buf_addstr(&text, "file \"");
        for (const char *c = e->name; *c != '\0'; c++)
            (void)buf_addf(&text, "\\x%02x", (unsigned char)*c);
        (void)buf_addf(&text, "\" seq %zu type %c\n", i + 1, e->type);
    }
    HOLDS(bases <= 1);
    if (fault == NULL && m.n > 0) {
        const char *why = aof_manifest_parse(&again, text.p, text.len);
        HOLDS(why == NULL ? again.n == m.n : strstr(why, "1024") != NULL);
        for (size_t i = 0; why == NULL && i < m.n; i++)
            HOLDS(strcmp(again.v[i].name, m.v[i].name) == 0 && again.v[i].type == m.v[i].type);
        aof_manifest_free(&again);
    }
    aof_manifest_free(&m);
    buf_free(&text);
}

static void lines(const uint8_t *p, size_t n)
{
    struct cur c = {p, p + n, 0, NULL};
    uint64_t time, want = 0;
    enum got g = aof_annotation(&c, &time);
    HOLDS(g != GOT || (c.p > p && c.p[-1] == '\n'));
    HOLDS(g != NEED || (c.want > 0 && memchr(p, '\n', n) == NULL));
    g = aof_looks_cut(p, p + n, &want);
    HOLDS(g == BAD || (g == NEED && want > 0));
}

/* Both files, in pieces where there is a seed. */
static int feed(struct emit *e, const uint8_t *p, size_t n, size_t first, unsigned kind, uint32_t seed)
{
    struct flow f;
    int rc = 0;
    struct aof_file file = {.name = "first",
                            .append_only = (kind & 4) == 0,
                            .last = first == n,
                            .truncated_ok = (kind & 8) != 0,
                            .until = (kind & 16) != 0 ? 1700000000 : 0};
    flow_init(&f, 0);
    flow_begin(&f, 1, true, false, 1, 0, NULL);
    f.to.e = e;
    rc = flow_file(&f, &file);
    for (size_t at = 0; at < n && rc == 0;) {
        if (at == first) {
            file.last = true;
            rc = flow_file(&f, &file);
        }
        size_t step = (at < first ? first : n) - at;
        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            size_t most = (seed >> 28) < 8 ? 4 : 300;
            if (step > 1 + (seed >> 8) % most)
                step = 1 + (seed >> 8) % most;
        }
        uint8_t *q = fuzz_exact(p + at, step);
        if (rc == 0)
            rc = flow_feed(&f, e, q, step, at, NOW_MS * 1000);
        free(q);
        at += step;
        if (e->refused)
            rc = 1;
    }
    if (rc == 0)
        rc = flow_end(&f, false);
    if (rc <= 0 && !e->refused)
        HOLDS(flow_settle(&f) == 0);
    flow_free(&f);
    return rc;
}

static void files(const uint8_t *data, size_t size)
{
    static struct buf whole, split;
    struct emit e;
    const uint8_t *p = data + 3;
    size_t n = size - 3, first = data[1] == 0 ? n : n * data[1] / 256;
    fuzz_emit(&e, data[0] >> 5, 0);
    int rc = feed(&e, p, n, first, data[0], 0);
    fuzz_canon(&e, &whole);
    fuzz_emit(&e, data[0] >> 5, 0);
    int rc2 = feed(&e, p, n, first, data[0], data[2] + 1u);
    fuzz_canon(&e, &split);
    HOLDS(rc == rc2);
    if (rc != 0)
        return;
    HOLDS(whole.len == split.len);
    HOLDS(memcmp(whole.p, split.p, whole.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    if ((data[0] & 3) == 0)
        manifest(data + 1, size - 1);
    else if ((data[0] & 3) == 1)
        lines(data + 1, size - 1);
    else
        files(data, size);
    return 0;
}
