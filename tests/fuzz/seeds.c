/* Make the first corpus of each fuzz target: the specification's examples (seeds/NAME.hex, one a line, in the
 * notation of tests/unit: hex pairs and 'text'), and the heads of recorded flows. Usage: seeds OUT HEXFILE...
 * -- S2CFILE... */
#include <err.h>
#include <sys/stat.h>

#include "../unit/test.h"

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
        put(target, NULL, 0, b.p, b.len);
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

int main(int argc, char **argv)
{
    bool captures = false;
    if (argc < 2)
        errx(2, "usage: seeds OUT HEXFILE... -- S2CFILE...");
    outdir = argv[1];
    (void)mkdir(outdir, 0777);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            captures = true;
        else if (captures)
            from_capture(argv[i]);
        else
            from_hex(argv[i]);
    }
    return 0;
}
