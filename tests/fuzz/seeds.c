/* Make the first corpus of each fuzz target: the specification's examples (seeds/NAME.hex, one a line, in the
 * notation of tests/unit: hex pairs and 'text'), snapshot files, and the heads of recorded flows. Usage:
 * seeds OUT HEXFILE... -- FIXTURE.hex... -- S2CFILE... */
#include <err.h>
#include <sys/stat.h>

#include "../unit/test.h"
#include "../../common/record.h"

static const char *outdir;
static unsigned made;

/* lead: the bytes by which a target is told how to use the rest. */
static void put(const char *target, const uint8_t *lead, size_t n, const void *data, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", outdir, target);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/seed%04u", outdir, target, made++);
    FILE *f = fopen(path, "we");
    if (f == NULL || fwrite(lead, 1, n, f) != n || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        err(1, "%s", path);
}

/* The same for other targets and selections, where a byte says which. */
static void put_line(const char *target, struct buf *b)
{
    unsigned at = strcmp(target, "command") == 0 ? 1 : strcmp(target, "flow") == 0 ? 2 : 0;
    static const uint8_t more[] = {0x20, 0x40, 0xe0};
    put(target, NULL, 0, b->p, b->len);
    if (at == 0 || b->len <= at)
        return;
    uint8_t plain = b->p[at];
    for (size_t i = 0; i < sizeof more; i++) {
        b->p[at] = plain | more[i];
        put(target, NULL, 0, b->p, b->len);
    }
}

/* A snapshot file, as hex with remarks behind #: as a flow, alone and after another, and as a stream. */
static void from_fixture(const char *file)
{
    char line[8192];
    struct buf all = {0};
    FILE *f = fopen(file, "re");
    if (f == NULL)
        err(1, "%s", file);
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "#\n")] = '\0';
        add_hex(&all, line);
    }
    fclose(f);
    static const uint8_t leads[][3] = {{0, 1, 7},    {4, 1, 9},    {44, 4, 0x15},
                                       {3, 1, 0x27}, {5, 1, 0x9a}, {12, 1, 0xf7}};
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        put("flow", leads[i], 3, all.p, all.len);
    for (uint8_t to = 0; to < 8; to++)
        put("export", (const uint8_t[]){(uint8_t)(to | (to & 3) << 6), 0, 7}, 3, all.p, all.len);
    put("aof", (const uint8_t[]){6, 0, 7}, 3, all.p, all.len);
    for (unsigned mode = 0x10; mode < 0x14; mode++)
        put("stream", (const uint8_t[]){(uint8_t)(mode | (mode & 1) << 2 | (mode & 2) << 6)}, 1, all.p,
            all.len);
    buf_free(&all);
}

/* seeds/TARGET.hex: a line each. */
static void from_hex(const char *file)
{
    char line[8192], target[64];
    const char *base = strrchr(file, '/');
    FILE *f = fopen(file, "re");
    if (f == NULL)
        err(1, "%s", file);
    snprintf(target, sizeof target, "%s", base != NULL ? base + 1 : file);
    *strchrnul(target, '.') = '\0';
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        struct buf b = hex(line);
        put_line(target, &b);
        buf_free(&b);
    }
    fclose(f);
}

/* What a master sent on one flow: replies, then "+FULL" or "+PARTIAL" with the token, then the flow itself.
 */
static void from_capture(const char *file)
{
    static uint8_t data[1 << 20];
    FILE *f = fopen(file, "re");
    if (f == NULL)
        err(1, "%s", file);
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    uint8_t *p = memmem(data, n, "+FULL\r\n+", 8);
    size_t reply = 8 + 40 + 2;
    bool full = p != NULL;
    if (!full) {
        p = memmem(data, n, "+PARTIAL\r\n+", 11);
        reply = 11 + 40 + 2;
    }
    if (p == NULL || p + reply > data + n)
        return;
    p += reply;
    size_t len = (size_t)(data + n - p);
    for (unsigned i = 0; i < 3; i++) {
        size_t head = 700u << i;
        if (head > len)
            head = len;
        put("flow", (const uint8_t[]){(uint8_t)(i * 13 + 4), full ? 0 : 2, 7}, 3, p, head);
        put("stream", (const uint8_t[]){(uint8_t)i}, 1, p, head);
    }
    if (full && n < sizeof data) { /* its end, and the journal behind it: as a partial flow */
        uint8_t *eof = memmem(p, len, "\xff\0\0\0\0\0\0\0\0", 9);
        if (eof != NULL && eof + 49 < data + n) {
            size_t rest = (size_t)(data + n - eof - 49);
            put("flow", (const uint8_t[]){4, 2, 9}, 3, eof + 49, rest < 3000 ? rest : 3000);
        }
    }
}

static void record(struct buf *b, unsigned type, unsigned flow, const void *p, size_t n, uint64_t pos)
{
    struct rec r = {
        .type = (uint8_t)type, .flow = (uint16_t)flow, .epoch = 1, .pos = pos, .len = (uint32_t)n};
    uint8_t h[REC_HEADER];
    rec_encode(h, &r);
    (void)buf_add(b, h, sizeof h);
    (void)buf_add(b, p, n);
}

static void text(struct buf *b, unsigned type, unsigned flow, const char *s)
{
    record(b, type, flow, s, strlen(s), 0);
}

/* Two flows that are resumed, with a FLUSHALL on both: a barrier. */
static void two_flows(void)
{
    for (unsigned mode = 8; mode < 16; mode++) {
        struct buf b = {0}, journal = {0};
        uint8_t h[REC_STREAM];
        rec_stream_header(h, KIND_RAW);
        (void)buf_add(&b, h, sizeof h);
        text(&b, REC_SESSION, 0, "nonce=0123\nsource=dragonfly\nflows=2\nepoch=1\njournal=1\n");
        text(&b, REC_FLOW, 0, "flow=0\nmode=PARTIAL\nlsn=7\n");
        text(&b, REC_FLOW, 1, "flow=1\nmode=PARTIAL\nlsn=9\n");
        add_command(&journal, 5, "SET k v");
        add_command(&journal, 6, "FLUSHALL");
        add_command(&journal, 7, "SADDEX s 10 m");
        record(&b, REC_DATA, 0, journal.p, journal.len, 0);
        if (mode >= 12) { /* the other flow has another FLUSHALL */
            journal.len = 0;
            add_command(&journal, 9, "FLUSHALL");
        }
        record(&b, REC_DATA, 1, journal.p, journal.len, 0);
        text(&b, REC_END, 0, "reason=stop\nstatus=5\nmessage=was+asked\npartial=1\n");
        put("stream", (const uint8_t[]){(uint8_t)mode}, 1, b.p, b.len);
        buf_free(&b);
        buf_free(&journal);
    }
}

int main(int argc, char **argv)
{
    static void (*const kinds[])(const char *) = {from_hex, from_fixture, from_capture};
    size_t kind = 0;
    if (argc < 2)
        errx(2, "usage: seeds OUT HEXFILE... -- FIXTURE.hex... -- S2CFILE...");
    outdir = argv[1];
    (void)mkdir(outdir, 0777);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--") != 0)
            kinds[kind](argv[i]);
        else if (++kind == 3)
            errx(2, "too many lists");
    }
    two_flows();
    return 0;
}
