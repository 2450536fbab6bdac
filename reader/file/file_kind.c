#include "file_kind.h"

#include <stdbool.h>
#include <string.h>

#include "exits.h"
#include "magic.h"
#include "record.h"

#define RAW_PEEK  4 /* bytes that tell a record stream */
#define TAR_MAGIC 257

static const struct kind {
    const char *magic;
    size_t n, at;
    const char *text;
} kinds[] = {
    {"\x1f\x8b", 2, 0, "is compressed by gzip: unpack it first (gunzip -c FILE | dfreader -)"},
    {"\x28\xb5\x2f\xfd", 4, 0, "is compressed by zstd: unpack it first (zstd -dc FILE | dfreader -)"},
    {"\xfd"
     "7zXZ",
     5, 0, "is compressed by xz: unpack it first (xz -dc FILE | dfreader -)"},
    {"BZh", 3, 0, "is compressed by bzip2: unpack it first (bzip2 -dc FILE | dfreader -)"},
    {"\x04\x22\x4d\x18", 4, 0, "is compressed by lz4: unpack it first (lz4 -dc FILE | dfreader -)"},
    {"PK\x03\x04", 4, 0, "is a zip archive: unpack it first and give the path of the snapshot in it"},
    {"ustar", 5, TAR_MAGIC, "is a tar archive: unpack it first and give the path of the snapshot in it"},
    {"file ", 5, 0,
     "is the manifest of an append-only file (AOF): give its path, so that its files are found"},
    {"$EOF:", 5, 0, "is a replication stream as a master sends it, no snapshot file: save an RDB file"},
};

/* "*3\r\n$3\r\nSET…", or an annotation in front of that. */
static bool is_aof(const uint8_t *p, size_t n)
{
    return p[0] == '*' ? n < 2 || (p[1] >= '0' && p[1] <= '9') : p[0] == '#' && (n < 2 || p[1] != '!');
}

const char *file_kind_fault(const uint8_t *p, size_t n, int *status)
{
    uint8_t header[REC_STREAM];
    *status = EXIT_DAMAGED;
    if (n == 0)
        return "is empty";
    *status = EXIT_USAGE;
    rec_stream_header(header, KIND_RAW);
    if (n >= RAW_PEEK && memcmp(p, header, RAW_PEEK) == 0)
        return "is a record stream already: give it to dfparse (raw) or rediswriter";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        if (n >= k->at + k->n && memcmp(p + k->at, k->magic, k->n) == 0)
            return k->text;
    }
    *status = EXIT_DAMAGED; /* of a kind that is not known, or a snapshot whose first bytes are */
    if (!magic_begins(p, n) && !is_aof(p, n))
        return "damaged at byte 0: expected " MAGIC_WANTED ", or the commands of an append-only file";
    *status = EXIT_DONE;
    return NULL;
}
