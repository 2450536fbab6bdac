/* Replies in RESP, as dfreader and df2redis-check take them apart: whatever the pieces are in which they
 * come, what is made of them is the same. First byte: the size of the pieces, and what is kept. */
#include "fuzz.h"

#include "../../check/reply.c"

/* What must not depend on the pieces, as text: of a string with a wrong end, how much of it is told before
 * that is seen may. */
static void say_tokens(const uint8_t *data, size_t size, size_t step, struct buf *said)
{
    struct resp_in in = {.depth = 0};
    struct resp_token t;
    size_t at = 0, have = 0, sure = 0, taken;
    for (;;) {
        uint8_t *p = fuzz_exact(data + at, have - at);
        enum resp_got got = resp_next(&in, p, have - at, &taken, &t);
        HOLDS(taken <= have - at && in.depth <= RESP_DEPTH);
        HOLDS(got != RESP_NONE || taken == 0);
        HOLDS(got != RESP_GOT || taken > 0);
        if (got == RESP_GOT) {
            HOLDS(t.len == 0 || (t.text >= (char *)p && t.text + t.len <= (char *)p + taken));
            HOLDS(t.type == 'b' || t.len < RESP_LINE_MAX);
            if (t.type != 'b')
                (void)buf_addf(said, "%c%lld@%u.%u ", t.type, (long long)t.n, t.depth, t.index);
            (void)buf_add(said, t.text, t.len);
            (void)buf_addf(said, "%s%s", t.whole ? "|" : "", t.end ? "\n" : "");
            sure = t.type == 'b' && !t.whole ? sure : said->len;
        }
        free(p);
        at += taken;
        if (got >= RESP_BAD) {
            said->len = sure;
            (void)buf_addf(said, "bad %d", got);
            return;
        }
        if (got == RESP_NONE && have == size)
            return;
        if (got == RESP_NONE)
            have = size - have < step ? size : have + step;
    }
}

/* A reply of df2redis-check. Returns as reply_feed. */
static int feed(struct reply *r, const uint8_t *data, size_t size, size_t step)
{
    size_t at = 0, have = 0, taken;
    int rc = 0;
    while (rc == 0 && have < size) {
        have = size - have < step ? size : have + step;
        uint8_t *p = fuzz_exact(data + at, have - at);
        rc = reply_feed(r, p, have - at, &taken);
        HOLDS(taken <= have - at);
        free(p);
        at += taken;
    }
    HOLDS(rc >= 0 || r->fault != NULL);
    return rc;
}

static void same(const struct reply *a, const struct reply *b)
{
    HOLDS(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        HOLDS(a->e[i].kept == b->e[i].kept && elem_same(&a->e[i], &b->e[i]));
        HOLDS(a->e[i].kept == 0 || memcmp(elem_text(a, &a->e[i]), elem_text(b, &b->e[i]), a->e[i].kept) == 0);
        HOLDS(reply_skip(a, i) > i && reply_skip(a, i) <= a->n);
    }
}

static void replies(const uint8_t *data, size_t size, size_t step, enum reply_keep keep)
{
    struct reply whole, parts;
    reply_init(&whole);
    reply_init(&parts);
    reply_begin(&whole, keep);
    reply_begin(&parts, keep);
    int rc = feed(&whole, data, size, size);
    HOLDS(feed(&parts, data, size, step) == rc);
    if (rc == 1)
        same(&whole, &parts);
    reply_free(&whole);
    reply_free(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {.len = 0}, parts = {.len = 0};
    if (size < 2)
        return 0;
    size_t step = 1 + (data[0] >> 3);
    say_tokens(data + 1, size - 1, size, &whole);
    say_tokens(data + 1, size - 1, step, &parts);
    HOLDS(whole.len == parts.len && (whole.len == 0 || memcmp(whole.p, parts.p, whole.len) == 0));
    replies(data + 1, size - 1, step, (enum reply_keep)((data[0] & 7) % (KEEP_DUMP + 1)));
    buf_free(&whole);
    buf_free(&parts);
    return 0;
}
