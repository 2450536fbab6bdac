/* LZF, and LZ4 and zstd frames that arrive in pieces. First byte: which; two bytes: size or pieces. */
#include "fuzz.h"

#include "../../parser/snapshot/blob.h"

/* In pieces: the same bytes, where the whole is no damage. */
static void lzf_pieces(const uint8_t *p, size_t n, const uint8_t *want, size_t outn)
{
    const size_t cap = LZF_WINDOW + 700 + LZF_STEP;
    uint8_t *b = malloc(cap);
    const uint8_t *in = p;
    size_t len = 0, total = 0;
    while (in < p + n) {
        size_t kept = len < LZF_WINDOW ? len : LZF_WINDOW;
        memmove(b, b + len - kept, kept);
        len = kept;
        if (lzf_continue(&in, p + n, b, &len, cap) < 0) {
            HOLDS(want == NULL);
            break;
        }
        HOLDS(len > kept && len <= cap && in <= p + n);
        HOLDS(want == NULL ||
              (total + len - kept <= outn && memcmp(want + total, b + kept, len - kept) == 0));
        total += len - kept;
    }
    HOLDS(want == NULL || total == outn);
    free(b);
}

static void lzf(const uint8_t *p, size_t n, size_t outn)
{
    uint8_t *in = fuzz_exact(p, n), *out = malloc(outn + 1);
    int rc = lzf_unpack(in, n, out, outn);
    lzf_pieces(in, n, rc == 0 ? out : NULL, outn);
    free(in);
    free(out);
}

/* Unpack in pieces; everything that comes out goes to *all. */
static enum got unpack(struct blob *b, bool zstd, const uint8_t *p, size_t n, size_t step, struct buf *all)
{
    size_t have = 0, at = 0;
    enum got g = NEED;
    all->len = 0;
    all->max = (size_t)64 << 20;
    blob_begin(b, zstd, n);
    while (g != BAD && !b->finished) {
        if (g == NEED && have == n)
            break;
        if (g == NEED)
            have = n - have < step ? n : have + step;
        uint8_t *q = fuzz_exact(p + at, have - at);
        struct cur c = {q, q + (have - at), 0, NULL};
        g = blob_unpack(b, &c);
        at += (size_t)(c.p - q);
        free(q);
        if (g == GOT) { /* the reader takes all of it */
            (void)buf_add(all, b->out.p + b->start, b->out.len - b->start);
            b->start = b->out.len;
        }
        HOLDS(all->len <= (size_t)32 << 20 || g != GOT);
        if (all->len > (size_t)16 << 20)
            break;
    }
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct blob b; /* reused, as in a flow */
    static struct buf whole, split;
    if (size < 4)
        return 0;
    size_t number = (size_t)data[1] | (size_t)data[2] << 8;
    const uint8_t *p = data + 3;
    size_t n = size - 3;
    if (data[0] % 3 == 0) {
        lzf(p, n, number);
        return 0;
    }
    bool zstd = data[0] % 3 == 1;
    enum got g = unpack(&b, zstd, p, n, n, &whole);
    bool finished = b.finished;
    if (g == GOT)
        HOLDS(whole.len == b.produced || whole.len > (size_t)16 << 20);
    enum got g2 = unpack(&b, zstd, p, n, 1 + number % 200, &split);
    /* What is damaged may be noticed in one way only: zstd has a path of its own for frames that are all
     * there. */
    if (g == GOT && finished && g2 == GOT && b.finished)
        HOLDS(whole.len == split.len && memcmp(whole.p, split.p, whole.len) == 0);
    return 0;
}
