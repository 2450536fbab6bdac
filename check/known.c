#include "known.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "batch.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "meta.h"

#define SLOTS_FIRST ((size_t)1 << 12)
#define LINE_MOST   (6 * KEY_MAX + 4096) /* a byte takes up to six */

/* ---- lines ---- */

/* Behind "name": in the line. NULL: it has none. Within texts quotes are escaped, so that this is no part of
 * one. */
static const char *field(const char *line, size_t n, const char *name)
{
    char text[16];
    int len = snprintf(text, sizeof text, "\"%s\":", name);
    const char *p = memmem(line, n, text, (size_t)len);
    return p != NULL ? p + len : NULL;
}

/* The byte of an escape at p, behind the backslash; *used says how long it is. -1: there is none. */
static int escaped(const char *p, const char *end, size_t *used)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *plain = p < end && *p != '\0' ? strchr(from, *p) : NULL;
    *used = plain != NULL ? 1 : 5;
    if (plain != NULL)
        return to[plain - from];
    return end - p >= 5 && memcmp(p, "u00", 3) == 0 ? meta_hex(p + 3) : -1;
}

long known_parse(const char *line, size_t n, uint32_t *db, uint8_t *name, size_t cap)
{
    const char *end = line + n, *lost = field(line, n, "lost"), *number = field(line, n, "db"),
               *p = field(line, n, "key");
    size_t len = 0, used = 1;
    if (lost == NULL || end - lost < 4 || memcmp(lost, "true", 4) != 0 || number == NULL || p == NULL ||
        p == end || *p != '"')
        return -1;
    *db = (uint32_t)strtoul(number, NULL, 10);
    for (p++; p < end && *p != '"'; p += used) {
        int byte = (uint8_t)*p;
        used = 1;
        if (byte == '\\') {
            byte = escaped(p + 1, end, &used);
            used++;
        }
        if (byte < 0 || len == cap)
            return -1;
        name[len++] = (uint8_t)byte;
    }
    return p < end && len > 0 ? (long)len : -1;
}

/* ---- the table ---- */

static uint64_t hash_of(uint32_t db, const void *name, size_t n)
{
    uint64_t h = XXH3_64bits_withSeed(name, n, db);
    return h != 0 ? h : 1;
}

static void make(struct known *k, size_t slots)
{
    *k = (struct known){.slots = slots, .fd = io_tmpfile(NULL)};
    if (k->fd < 0 || ftruncate(k->fd, (off_t)(slots * sizeof *k->hash)) < 0)
        fatal_errno(EXIT_CANNOT, "known keys cannot be kept in a file");
    k->hash = mmap(NULL, slots * sizeof *k->hash, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (k->hash == MAP_FAILED)
        fatal_errno(EXIT_CANNOT, "known keys cannot be kept in a file");
}

void known_free(struct known *k)
{
    if (k->hash == NULL)
        return;
    munmap(k->hash, k->slots * sizeof *k->hash);
    close(k->fd);
    k->hash = NULL;
}

static uint64_t *slot_of(const struct known *k, uint64_t h)
{
    size_t i = (size_t)h & (k->slots - 1);
    while (k->hash[i] != 0 && k->hash[i] != h)
        i = (i + 1) & (k->slots - 1);
    return &k->hash[i];
}

static void add(struct known *k, uint64_t h)
{
    if (2 * k->n >= k->slots) {
        struct known larger;
        make(&larger, 2 * k->slots);
        for (size_t i = 0; i < k->slots; i++)
            if (k->hash[i] != 0)
                *slot_of(&larger, k->hash[i]) = k->hash[i];
        larger.n = k->n;
        known_free(k);
        *k = larger;
    }
    uint64_t *s = slot_of(k, h);
    k->n += *s == 0;
    *s = h;
}

bool known_has(const struct known *k, uint32_t db, struct slice name)
{
    return k->hash != NULL && *slot_of(k, hash_of(db, name.p, name.n)) != 0;
}

void known_read(struct known *k, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    uint32_t db;
    ssize_t n;
    uint8_t *name = xmalloc(KEY_MAX);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        fatal_errno(EXIT_CANNOT, "%s", path);
    make(k, SLOTS_FIRST);
    while ((n = getline(&line, &cap, f)) > 0) {
        long len = known_parse(line, (size_t)n, &db, name, KEY_MAX);
        if (len > 0)
            add(k, hash_of(db, name, (size_t)len));
        else if (line[0] != '{' || (size_t)n > LINE_MOST)
            fatal(EXIT_CANNOT, "%s: a line that dfparse --report does not write", path);
    }
    if (ferror(f) || fclose(f) != 0)
        fatal_errno(EXIT_CANNOT, "%s", path);
    free(line);
    free(name);
}
