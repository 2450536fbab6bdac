/* A small flow with everything in it: cut at every byte, every bit flipped. Whatever comes: no crash, no
 * hang, an error with its place or records that are well-formed, and never an end that is taken for whole. */
#include <lz4frame.h>

#include "test.h"
#include "canon.h"

#include "../../parser/flow.h"

#define NODE                                                                                                 \
    "10 00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 2a 2a 00 00 00 0f 00 02 01 00 01 01 01 81 66 02 "    \
    "00 01 02 01 00 01 00 01 82 76 31 03 04 01 02 01 01 01 00 01 82 76 32 03 04 01 ff "
#define ID   "00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 "
#define TIME "00 a8 da 76 9b 01 00 00 "

static struct buf sample(void)
{
    struct buf b = hex("'REDIS0009' fa 06 'df-ver' 0a 'df-v1.40.1' fe 00 fb 01 00 f9 05 f8 07");
    struct buf in = hex("fe 01 02 01 'p' 02 14 'aaaaaaaaaaaaaaaaaaaa' 14 'aaaaaaaaaaaaaaaaaaab' "
                        "e0 07 00 00 00 09 00 00 00 04 01 'q' 02 01 'f' 02 'vv' 00 01 'x' c2 00 b9 55 69");
    uint8_t frame[1000];
    LZ4F_preferences_t prefs = {.frameInfo = {.contentSize = in.len}};
    size_t n = LZ4F_compressFrame(frame, sizeof frame, in.p, in.len, &prefs);
    add_hex(&b, "fc 00 a8 da 76 9b 01 00 00 dc 03 00 00 00 07 00 00 00 00 02 'k1' 05 'hello' "
                "00 c3 05 28 00 61 e0 1e 00 c1 e8 03 02 01 's' 02 01 'a' c0 05 "
                "03 01 'o' 02 01 'a' 03 '1.5' 01 'b' fe 05 01 'z' 01 01 'm' 00 00 00 00 00 00 f8 3f "
                "0b 01 'i' 0e 02 00 00 00 03 00 00 00 ff ff 05 00 2c 01 "
                "0d 01 'y' 0f 0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff "
                "10 01 'h' 14 14 00 00 00 04 00 81 66 02 81 76 02 81 6e 02 f1 88 13 03 ff "
                "12 01 'l' 02 02 0a 0a 00 00 00 01 00 81 61 02 ff 01 03 'big' "
                "1f 02 'hx' 02 01 61 c0 01 c2 80 0d 7c 05 01 62 c0 02 c0 ff "
                "21 01 'f' 00 0000000000000040 7b14ae47e17a843f 05 06 40 64 01 05 04 'abcd' "
                "24 01 't' 00 03 08 04 cdccccccccccec3f 01 01 'a' 05 04 01000000 "
                "15 02 'st' 01 " NODE "02 43 e9 00 43 e8 00 00 00 02 01 01 67 43 e8 00 01 01 " ID TIME
                "01 01 01 63 " TIME TIME "01 " ID);
    add_hex(&b, "ca");
    add_pstr(&b, frame, n);
    add_hex(&b, "e0 01 00 00 00 10 00 00 00 12 01 4c 02 02 0a 0a 00 00 00 01 00 81 61 02 ff "
                "e0 07 00 00 00 04 00 00 00 01 'g' 01 'w' "
                "d2 01 11 06 00 0a 41 2c 01 03 06 03 53 45 54 01 6b 02 76 31 "
                "e0 01 00 00 00 0c 00 00 00 02 0a 0a 00 00 00 01 00 81 62 02 ff "
                "c8 00 00 00 00 00 00 00 00 d3 d4 04 00 00 00 00 00 00 ff 00 00 00 00 00 00 00 00 "
                "'5cd54b01b9a5ae0a0e5e5d6d7d2b7f2e0a1b2c3d' 06 00 0a 41 2c 01 03 06 03 53 45 54 01 6b 02 76 "
                "31 0f 44 d4 ");
    add_command(&b, 5, "HSETEX h 100 f v");
    add_command(&b, 6, "XGROUP SETID st g 5-0 ENTRIESREAD 7");
    add_command(&b, 7, "FLUSHALL");
    add_hex(&b, "0d 09 00 01 02 04 03 'DEL' 01 'k' 0b 09 01 02 04 03 'DEL' 01 'k' 0c 09 01 0f 44 db");
    buf_free(&in);
    return b;
}

/* The flow's verdict; the records are checked in any case. */
static int run(const char *target, const uint8_t *bytes, size_t n, size_t piece, char *error)
{
    struct capture c;
    struct flow f;
    struct buf text = {0};
    int rc = 0;
    capture_init(&c);
    (void)target_parse(&c.e.target, target);
    flow_init(&f, 0);
    flow_begin(&f, 1, false, true, 2, 0, "5cd54b01b9a5ae0a0e5e5d6d7d2b7f2e0a1b2c3d");
    for (size_t at = 0; at < n && rc == 0;) {
        size_t step = n - at < piece ? n - at : piece;
        uint8_t *p = exact(bytes + at, step);
        rc = flow_feed(&f, &c.e, p, step, at, UINT64_C(1700000000000000));
        free(p);
        at += step;
    }
    if (rc == 0)
        rc = flow_end(&f, false);
    strcpy(error, f.error);
    struct buf out = capture_bytes(&c);
    EQ_S(canon(out.p, out.len, &text), NULL);
    buf_free(&out);
    buf_free(&text);
    flow_free(&f);
    capture_free(&c);
    return rc;
}

static void damaged(const struct buf *b, const char *target)
{
    char error[256];
    unsigned noticed = 0, ends = 0;
    if (!EQ_I(run(target, b->p, b->len, b->len, error), 0))
        printf("%s\n", error);
    EQ_I(run(target, b->p, b->len, 1, error), 0);
    for (size_t n = 0; n < b->len; n++) {
        int rc = run(target, b->p, n, 97, error);
        ends += rc == 0;
        CHECK(rc == 0 || strncmp(error, "damaged at byte ", 16) == 0 ||
              strncmp(error, "not supported at byte ", 22) == 0);
    }
    /* Between two journal entries an end may be whole: behind the EOF token, and behind each of 9 (SELECT and
     * LSN counted, not the entry that waits for its EXEC). */
    EQ(ends, 10);
    for (size_t i = 0; i < b->len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b->p[i] ^= (uint8_t)(1u << bit);
            int rc = run(target, b->p, b->len, 1 + i % 300, error);
            noticed += rc != 0;
            CHECK(rc == 0 || strncmp(error, "damaged at byte ", 16) == 0 ||
                  strncmp(error, "not supported at byte ", 22) == 0);
            b->p[i] ^= (uint8_t)(1u << bit);
        }
    CHECK(noticed > b->len * 8 / 3); /* text that was changed is text all the same */
}

int main(void)
{
    struct buf b = sample();
    damaged(&b, "portable");
    damaged(&b, "7.4");
    buf_free(&b);
    return test_done();
}
