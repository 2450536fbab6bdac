/* Values that are framed well and not sound within: where they stand, and what becomes of their keys. */
#include <fcntl.h>
#include <lz4frame.h>
#include <unistd.h>

#include "test.h"

#include "../../common/crc64.h"
#include "../../parser/flow.h"

#define T0     UINT64_C(1700000000000000)
#define BROKEN "c3 02 03 00 61 " /* LZF that ends early */

static struct capture cap;
static struct flow flow;
static char *reports;
static size_t reports_n;

static void begin(const char *target, enum existing existing)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    cap.e.target.existing = existing;
    cap.e.report = open_memstream(&reports, &reports_n);
    flow_init(&flow, 0);
    flow_begin(&flow, 1, false, true, 2, 0, NULL);
}

static void feed(const struct buf *b, size_t piece)
{
    for (size_t at = 0; at < b->len;) {
        size_t n = b->len - at < piece ? b->len - at : piece;
        uint8_t *p = exact(b->p + at, n);
        bool taken = EQ_I(flow_feed(&flow, &cap.e, p, n, flow.offset + flow.carry.len, T0), 0);
        free(p);
        if (!taken) {
            printf("%s\n", flow.error);
            return;
        }
        at += n;
    }
}

static void end(void)
{
    flow_free(&flow);
    fclose(cap.e.report);
    free(reports);
    capture_free(&cap);
}

/* The report of a key says this, or of no place at all (NULL). */
static bool stands_at(const char *key, const char *place)
{
    char name[40], *at, *line, *eol;
    fflush(cap.e.report);
    snprintf(name, sizeof name, "\"key\":\"%s\"", key);
    line = reports_n > 0 ? strstr(reports, name) : NULL;
    if (line == NULL)
        return false;
    eol = strchr(line, '\n');
    at = strstr(line, place != NULL ? place : "at byte");
    bool found = at != NULL && at < eol;
    return place != NULL ? found : !found && strstr(line, "damaged: expected") != NULL;
}

static const size_t pieces[] = {1, 7, 1u << 20};

/* A key that stands in the flow; one in chunks, with another between them; one within a blob. */
static void places(void)
{
    static const char blobbed[] = "00 01 'x' 01 'v' 00 01 'b' " BROKEN;
    struct buf in = hex(blobbed), b = hex("'REDIS0009' fe 00 ");
    uint8_t frame[200];
    LZ4F_preferences_t prefs = {.frameInfo = {.contentSize = in.len}};
    size_t n = LZ4F_compressFrame(frame, sizeof frame, in.p, in.len, &prefs);
    add_hex(&b, "00 01 'a' " BROKEN); /* at 11 */
    size_t c_at = b.len + 9, d_at = c_at + 8 + 5 + 9;
    add_hex(&b, "e0 01 00 00 00 08 00 00 00 04 01 'c' 02 01 'f' 01 'v' 00 01 'y' 01 'v' "
                "e0 02 00 00 00 08 00 00 00 04 01 'd' 02 01 'f' 01 'v' "
                "e0 01 00 00 00 07 00 00 00 01 'g' " BROKEN "00 01 'z' 01 'v' "
                "e0 02 00 00 00 07 00 00 00 01 'g' " BROKEN);
    size_t blob_at = b.len;
    add_hex(&b, "ca");
    add_pstr(&b, frame, n);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        char place[40];
        begin("portable", EXISTING_OVERWRITE);
        feed(&b, pieces[i]);
        CHECK(stands_at("a", "at byte 11 of"));
        snprintf(place, sizeof place, "at byte %zu of", c_at);
        CHECK(stands_at("c", place));
        snprintf(place, sizeof place, "at byte %zu of", d_at);
        CHECK(stands_at("d", place));
        snprintf(place, sizeof place, "at byte %zu of", blob_at);
        CHECK(stands_at("b", place));
        end();
    }
    buf_free(&in);
    buf_free(&b);
}

/* A journaled value has no place of its own: none is named, not that of the last key of the snapshot. */
static void journaled(void)
{
    struct buf b = hex("'REDIS0009' fe 00 00 01 'x' 01 'v' c8 00 00 00 00 00 00 00 00 "
                       "d3 64 00 00 00 00 00 00 00 ff 00 00 00 00 00 00 00 00 "
                       "'0000000000000000000000000000000000000000'");
    struct buf p = hex("00 " BROKEN "09 00");
    uint64_t crc = crc64(0, p.p, p.len);
    add_le(&p, crc, 8);
    struct slice argv[5] = {SLICE("RESTORE"), SLICE("j"), SLICE("0"), {p.p, p.len}, SLICE("REPLACE")};
    add_entry(&b, 10, 7, argv, 5);
    begin("portable", EXISTING_OVERWRITE);
    feed(&b, b.len);
    CHECK(stands_at("j", NULL));
    CHECK(strstr(capture_text(&cap), "| DEL j\n") != NULL);
    end();
    buf_free(&b);
    buf_free(&p);
}

static void keeps(const char *value, const char *target, enum existing existing, size_t limit,
                  const char *want)
{
    struct buf b = hex("'REDIS0009' fe 00 ");
    add_hex(&b, value);
    begin(target, existing);
    cap.e.restore_limit = limit;
    feed(&b, b.len);
    (void)emit_flush(&cap.e);
    if (!EQ_S(capture_text(&cap), want))
        printf("  for %s, %s, limit %zu\n", value, target, limit);
    end();
    buf_free(&b);
}

/* What the target had under the name goes, whether the damage is found before the first part or behind it;
 * where keys are guarded it stays. */
static void same_end(void)
{
    static const char *const values[] = {"04 01 'k' 01 01 'f' " BROKEN,
                                         "11 01 'k' 0f 0f 00 00 00 02 00 81 6d 02 83 'nan' 04 ff"};
    static const char *const classes[] = {"hash", "zset"};
    for (size_t i = 0; i < 2; i++)
        for (size_t limit = 0; limit <= 65536; limit += 65536) {
            char want[100];
            snprintf(want, sizeof want, "LOST kind=damaged-value key=k\n1 pos=0 db=0 I %s | DEL k\n",
                     classes[i]);
            keeps(values[i], "7.0", EXISTING_OVERWRITE, limit, want);
            keeps(values[i], "7.0", EXISTING_SKIP, limit, "LOST kind=damaged-value key=k\n");
        }
}

/* Values, in one piece and in a chunk, that are longer than what of a blob is unpacked at a time, and one
 * that is longer than what is kept of it; the input ends within. */
static void long_blob(void)
{
    struct buf in = {.max = (size_t)256 << 20}, b = {.max = (size_t)256 << 20};
    const size_t n = (size_t)66 << 20, chunk = (size_t)2 << 20;
    uint8_t *text = malloc(n);
    uint32_t random = 1;
    for (size_t i = 0; i < n; i++)
        text[i] = (uint8_t)((random = random * 1103515245u + 12345u) >> 24);
    add_hex(&in, "fe 00 00 01 's'");
    add_pstr(&in, text, n);
    add_hex(&in, "e0 01 00 00 00");
    add_le(&in, chunk + 3 + 1 + 2 + 5, 4);
    add_hex(&in, "04 01 'h' 01 01 'f'");
    add_pstr(&in, text, chunk);
    uint8_t *frame = malloc(LZ4F_compressFrameBound(in.len, NULL) + 100);
    LZ4F_preferences_t prefs = {.frameInfo = {.contentSize = in.len}};
    size_t fn = LZ4F_compressFrame(frame, LZ4F_compressFrameBound(in.len, NULL) + 100, in.p, in.len, &prefs);
    add_hex(&b, "'REDIS0009' ca");
    add_pstr(&b, frame, fn);
    add_hex(&b, "00 01 'z' 01 'v'");
    begin("7.0", EXISTING_OVERWRITE);
    feed(&b, 60000);
    EQ(cap.e.stats.keys[CLASS_STRING], 2);
    EQ(cap.e.stats.keys[CLASS_HASH], 1);
    EQ(flow.rdb.nchunks, 0);
    end();
    free(text);
    free(frame);
    buf_free(&in);
    buf_free(&b);
}

static void add_be(struct buf *b, uint64_t v)
{
    v = __builtin_bswap64(v);
    (void)buf_add(b, &v, 8);
}

/* More pending entries than are kept: as many as are, and one report of the rest. That is no damage. */
static void pending(void)
{
    const uint64_t n = 4000000;
    struct buf b = {.max = (size_t)256 << 20};
    struct scratch s = {.body = {.len = 0}};
    add_hex(&b, "00 00");
    add_plen(&b, n);
    add_hex(&b, "00 00 00 00 00 00 01 01 'g'");
    add_plen(&b, n);
    add_hex(&b, "00 00");
    add_plen(&b, n);
    for (uint64_t i = 1; i <= n; i++) {
        add_be(&b, i);
        (void)buf_add(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 17);
    }
    add_hex(&b, "01 01 'c' 00 00 00 00 00 00 00 00");
    add_plen(&b, n);
    for (uint64_t i = 1; i <= n; i++) {
        add_be(&b, i);
        add_be(&b, 0);
    }
    struct cur c = {b.p, b.p + b.len, 0, NULL};
    EQ_I(value_scan(19, &c, &s), GOT);
    EQ_S(s.damage, NULL);
    CHECK(c.p == c.end);

    struct value v = {.type = 0};
    struct key k;
    begin("7.0", EXISTING_OVERWRITE);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC), was = cap.e.out.fd;
    cap.e.out.fd = null;
    key_set(&cap.e, &k, (const uint8_t *)"k", 1);
    value_begin(&v, &cap.e, &flow.to.o, &s, 19, &k, 0);
    c.p = b.p;
    EQ_I(value_feed(&v, &c), GOT);
    EQ(cap.e.stats.lost, 1);
    CHECK(stands_at("k", "not supported: 1966399 of the pending entries"));
    CHECK(cap.e.stats.requests > (size_t)2000000);
    (void)emit_flush(&cap.e);
    cap.e.out.fd = was;
    close(null);
    value_free(&v);
    scratch_free(&s);
    end();
    buf_free(&b);
}

int main(void)
{
    places();
    journaled();
    same_end();
    long_blob();
    pending();
    return test_done();
}
