/* Records: what the stages exchange. The normative text is dfrecord(5); names here are its names. */
#ifndef DF_RECORD_H
#define DF_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define REC_PAYLOAD_MAX ((size_t)1 << 20)
#define REC_HEADER      48
#define REC_STREAM      24 /* size of a stream header */
#define REC_FLOWS_MAX   1024
#define REC_NO_SLOT     65535

enum rec_kind { KIND_ANY = 0, KIND_RAW = 'R', KIND_COMMAND = 'C' };

enum rec_type {
    REC_SESSION = 1,
    REC_FLOW = 2,
    REC_END = 3,
    REC_DATA = 16,
    REC_KEY = 17,
    REC_CHECK = 18,
    REC_SLOTS = 19,
    REC_FILE = 20,
    REC_COMMANDS = 21,
    REC_SCAN = 22,
    REC_TARGET = 32,
    REC_REQUEST = 33,
    REC_POSITION = 34,
    REC_BARRIER = 35,
    REC_REPORT = 36,
    REC_SYNCED = 37,
    REC_PROGRAM = 38,
    REC_PROBE = 39,
    REC_HOLDS = 40,
};

enum rec_flag {
    RF_MORE = 0x0001,
    RF_PLAINSET = 0x0002,
    RF_IDEMPOTENT = 0x0004,
    RF_FIRST = 0x0008,
    RF_LAST = 0x0010,
    RF_LIVE = 0x0020,
    RF_MULTIKEY = 0x0040,
    RF_PRECUT = 0x0080,
    RF_TOGETHER = 0x0100,
    RF_HELD = 0x0200,
    RF_FRESH = 0x0400,
    RF_ONEFLOW = 0x0800,
    RF_ALL = 0x0fff,
};

enum rec_class {
    CLASS_NONE,
    CLASS_STRING,
    CLASS_LIST,
    CLASS_SET,
    CLASS_ZSET,
    CLASS_HASH,
    CLASS_STREAM,
    CLASS_JSON,
    CLASS_OTHER,
    CLASS_COUNT,
};

/* What a PROBE record is about, and its payload up to the name that the source has; the request follows. */
enum probe_kind {
    PROBE_BEGIN, /* the flow will be verified */
    PROBE_KEY,   /* asked for by dfreader */
    PROBE_AGAIN, /* the same, for a key that was read again */
    PROBE_OWN,   /* asked for by dfparse */
    PROBE_DONE,  /* the flow is verified */
    PROBE_LATER, /* as PROBE_AGAIN, for a key that dfparse had asked for */
    PROBE_KINDS,
};

struct probe_head {
    uint8_t kind, zero[3];
    uint32_t db; /* of the source */
    uint32_t n;  /* bytes of the name */
};

/* Length of the prefix of a PLAINSET request, "*3\r\n$3\r\nSET\r\n". */
#define PLAINSET_PREFIX 13

/* A record header: the wire layout itself (little-endian, no padding). */
struct rec {
    uint32_t len;
    uint8_t type;
    uint8_t vclass;
    uint16_t flags;
    uint16_t flow;
    uint16_t slot;
    uint16_t epoch;
    uint8_t keyarg;
    uint8_t zero;
    uint32_t db;
    uint32_t hash;
    uint64_t seq;
    uint64_t pos;
    uint64_t time;
};

_Static_assert(sizeof(struct rec) == REC_HEADER, "record header has padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need swapping in record.c");

const char *rec_type_name(unsigned type);
const char *rec_class_name(unsigned vclass);

/* ---- reading ---- */

/* A record stream being read from a descriptor. Payloads handed out point into its buffer and are valid until
 * the next call of recin_fill. */
struct recin {
    int fd;
    int kind;        /* of the current stream, 0 before the first header */
    int want;        /* kind that is accepted; KIND_ANY: both */
    bool ended;      /* the current stream's END record was seen */
    bool eof;        /* read() returned 0 */
    uint64_t offset; /* of the next record in the input, for messages */
    size_t start;    /* parsed up to here */
    struct buf b;
    char error[160];
};

enum recin_result {
    RECIN_MORE,    /* not enough bytes yet: fill */
    RECIN_RECORD,  /* *r and *payload are set */
    RECIN_STREAM,  /* a stream header was passed */
    RECIN_END,     /* end of input, after an END record (or an empty input: see recin.kind) */
    RECIN_CUT,     /* end of input or new stream without an END record */
    RECIN_DAMAGED, /* error says what */
};

void recin_init(struct recin *in, int fd, enum rec_kind want);
void recin_free(struct recin *in);

/* Read once into the buffer. Returns bytes read, 0 at end of file, -1 with errno (EAGAIN when non-blocking).
 */
long recin_fill(struct recin *in);

/* The next record. Checks header, kind, length, type and flags before anything is handed out. */
enum recin_result recin_next(struct recin *in, struct rec *r, const uint8_t **payload);

/* After RECIN_CUT: not one whole record ever came from this pipe or socket. What was to write there died
 * before it began, which is no damage; an empty file is. */
bool recin_never_began(const struct recin *in);

/* True when a whole record or the end lies in the buffer, so that no read is needed for progress. */
bool recin_ready(const struct recin *in);

/* ---- writing ---- */

/* Records on their way to a descriptor; blocking. All calls return 0, or -1 when the reader of the output has
 * gone (errno EPIPE) or writing failed. */
struct recout {
    int fd;
    size_t limit; /* write when more than this has gathered */
    struct buf b;
    uint64_t bytes;  /* written so far */
    uint64_t waited; /* µs in writes */
};

void recout_init(struct recout *o, int fd, size_t limit);
void recout_free(struct recout *o);
int recout_stream(struct recout *o, enum rec_kind kind);
int recout_flush(struct recout *o);

/* Fill r->len and append header and payload. */
int recout_put(struct recout *o, struct rec *r, const void *payload, size_t n);

/* Space for a record to be formatted in place: n bytes including its header. NULL when writing failed. */
static inline uint8_t *recout_room(struct recout *o, size_t n)
{
    if (__builtin_expect(o->b.len + n > o->limit, 0) && recout_flush(o) < 0)
        return NULL;
    return buf_room(&o->b, n);
}

/* Encode header into 48 bytes. */
static inline void rec_encode(uint8_t *to, const struct rec *r)
{
    memcpy(to, r, REC_HEADER);
}

/* Encode a stream header into 24 bytes. */
void rec_stream_header(uint8_t *to, enum rec_kind kind);

#endif
