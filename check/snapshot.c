#include "snapshot.h"

#include <string.h>

#include "crc64.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "le.h"

#define FOOTER        10u /* version, checksum */
#define OP_AUX        250u
#define OP_EXPIRY_MS  252u
#define OP_SELECTDB   254u
#define OP_EOF        255u
#define VALKEY_OLDEST 80u /* version of the format that is Valkey's own */

static void put(struct snapshot *s, const void *p, size_t n)
{
    s->crc = crc64(s->crc, p, n);
    if (n > 0 && fwrite(p, 1, n, s->f) != n)
        fatal_errno(EXIT_CANNOT, "%s", s->name);
}

static void put_byte(struct snapshot *s, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    put(s, &b, 1);
}

static void put_len(struct snapshot *s, size_t n)
{
    uint8_t b[5] = {0x80, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    if (n < 64)
        put_byte(s, (unsigned)n);
    else
        put(s, b, sizeof b);
}

static void put_text(struct snapshot *s, const void *p, size_t n)
{
    put_len(s, n);
    put(s, p, n);
}

static void put_aux(struct snapshot *s, const char *name, const char *value)
{
    put_byte(s, OP_AUX);
    put_text(s, name, strlen(name));
    put_text(s, value, strlen(value));
}

/* What the numbers of types mean depends on whose they are. */
static void begin(struct snapshot *s, unsigned version)
{
    static const char *const aux[] = {
        [SERVER_REDIS] = "redis-ver", [SERVER_VALKEY] = "valkey-ver", [SERVER_DRAGONFLY] = "df-ver"};
    char magic[24];
    bool valkey = s->kind == SERVER_VALKEY && version >= VALKEY_OLDEST;
    if (s->kind == SERVER_DRAGONFLY)
        version = 9;
    snprintf(magic, sizeof magic, valkey ? "VALKEY%03u" : "REDIS%04u", version);
    put(s, magic, 9);
    put_aux(s, aux[s->kind], s->version);
    s->begun = true;
    s->db = UINT32_MAX;
}

void snapshot_open(struct snapshot *s, const char *name, enum server_kind kind, const char *version)
{
    *s = (struct snapshot){.name = name, .kind = kind, .version = version};
    s->f = io_fopen_own(name);
    if (s->f == NULL)
        fatal_errno(EXIT_CANNOT, "%s", name);
}

void snapshot_key(struct snapshot *s, uint32_t db, int64_t expires, const void *key, size_t len,
                  const uint8_t *payload, size_t n)
{
    if (!s->begun)
        begin(s, le16(payload + n - FOOTER));
    if (db != s->db) {
        put_byte(s, OP_SELECTDB);
        put_len(s, db);
        s->db = db;
    }
    if (expires >= 0) {
        put_byte(s, OP_EXPIRY_MS);
        put(s, &expires, sizeof expires); /* little-endian, like this machine (le.h) */
    }
    put(s, payload, 1);
    put_text(s, key, len);
    put(s, payload + 1, n - FOOTER - 1);
    s->keys++;
}

void snapshot_close(struct snapshot *s)
{
    if (!s->begun)
        begin(s, 10);
    put_byte(s, OP_EOF);
    uint64_t crc = s->crc;
    put(s, &crc, sizeof crc);
    if (fclose(s->f) != 0)
        fatal_errno(EXIT_CANNOT, "%s", s->name);
}
