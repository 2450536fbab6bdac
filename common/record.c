#include "record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"

static const uint8_t magic[8] = {'D', 'F', 'R', 'E', 'C', '\r', '\n', 0x1a};

#define FILL_STEP ((size_t)60 << 10) /* with a record of 64 KiB before it, within 128 KiB */

const char *rec_type_name(unsigned type)
{
    switch (type) {
    case REC_SESSION: return "session";
    case REC_FLOW: return "flow";
    case REC_END: return "end";
    case REC_DATA: return "data";
    case REC_KEY: return "key";
    case REC_CHECK: return "check";
    case REC_SLOTS: return "slots";
    case REC_FILE: return "file";
    case REC_COMMANDS: return "commands";
    case REC_SCAN: return "scan";
    case REC_TARGET: return "target";
    case REC_REQUEST: return "request";
    case REC_POSITION: return "position";
    case REC_BARRIER: return "barrier";
    case REC_REPORT: return "report";
    case REC_SYNCED: return "synced";
    case REC_PROGRAM: return "program";
    case REC_PROBE: return "probe";
    case REC_HOLDS: return "holds";
    default: return NULL;
    }
}

const char *rec_class_name(unsigned vclass)
{
    static const char *const names[CLASS_COUNT] = {"none", "string", "list", "set",  "zset",
                                                   "hash", "stream", "json", "other"};
    return vclass < CLASS_COUNT ? names[vclass] : "unknown";
}

void rec_stream_header(uint8_t *to, enum rec_kind kind)
{
    memset(to, 0, REC_STREAM);
    memcpy(to, magic, sizeof magic);
    to[8] = 1;
    to[10] = (uint8_t)kind;
}

void recin_init(struct recin *in, int fd, enum rec_kind want)
{
    memset(in, 0, sizeof *in);
    in->fd = fd;
    in->want = (int)want;
    in->b.max = REC_PAYLOAD_MAX + REC_HEADER + FILL_STEP;
}

void recin_free(struct recin *in)
{
    buf_free(&in->b);
}

long recin_fill(struct recin *in)
{
    if (in->start > 0) {
        buf_shift(&in->b, in->start);
        in->start = 0;
    }
    size_t need = FILL_STEP;
    if (in->b.len >= REC_HEADER) {
        uint32_t len;
        memcpy(&len, in->b.p, sizeof len);
        if (len <= REC_PAYLOAD_MAX && in->b.len < REC_HEADER + len)
            need = REC_HEADER + len - in->b.len;
    }
    if (need < FILL_STEP)
        need = FILL_STEP;
    uint8_t *to = buf_room(&in->b, need);
    if (to == NULL) {
        errno = ENOBUFS;
        return -1;
    }
    ssize_t n = read(in->fd, to, in->b.cap - in->b.len);
    if (n > 0)
        in->b.len += (size_t)n;
    else if (n == 0)
        in->eof = true;
    return n;
}

static enum recin_result damaged(struct recin *in, const char *what)
{
    snprintf(in->error, sizeof in->error, "%s at byte %llu of the stream", what,
             (unsigned long long)in->offset);
    return RECIN_DAMAGED;
}

static enum recin_result take_stream_header(struct recin *in, const uint8_t *p, size_t have)
{
    if (have < REC_STREAM)
        return in->eof ? damaged(in, "stream header cut short") : RECIN_MORE;
    if (memcmp(p, magic, sizeof magic) != 0)
        return damaged(in, "no record stream: wrong magic");
    if (p[8] != 1 || p[9] != 0)
        return damaged(in, "record format version is not 1");
    if (p[10] != KIND_RAW && p[10] != KIND_COMMAND)
        return damaged(in, "unknown kind of record stream");
    if (in->want != KIND_ANY && p[10] != in->want)
        return damaged(in, in->want == KIND_RAW ? "a command stream where a raw one is needed"
                                                : "a raw stream where a command stream is needed (dfparse)");
    for (size_t i = 11; i < REC_STREAM; i++)
        if (p[i] != 0)
            return damaged(in, "stream header with unknown fields");
    if (in->kind != 0 && !in->ended) {
        (void)damaged(in, "the stream before this one has no END record: it was cut short");
        return RECIN_CUT;
    }
    in->kind = p[10];
    in->ended = false;
    in->start += REC_STREAM;
    in->offset += REC_STREAM;
    return RECIN_STREAM;
}

static bool type_fits(const struct recin *in, unsigned type)
{
    switch (type) {
    case REC_SESSION:
    case REC_FLOW:
    case REC_END: return true;
    case REC_DATA:
    case REC_KEY:
    case REC_CHECK:
    case REC_SLOTS:
    case REC_FILE:
    case REC_COMMANDS:
    case REC_SCAN: return in->kind == KIND_RAW;
    case REC_TARGET:
    case REC_REQUEST:
    case REC_POSITION:
    case REC_BARRIER:
    case REC_REPORT:
    case REC_SYNCED:
    case REC_PROGRAM:
    case REC_PROBE:
    case REC_HOLDS: return in->kind == KIND_COMMAND;
    default: return false;
    }
}

static const char *header_fault(const struct recin *in, const struct rec *r)
{
    if (r->len > REC_PAYLOAD_MAX)
        return "record longer than 1 MiB";
    if (!type_fits(in, r->type))
        return "unknown record type";
    if ((r->flags & ~RF_ALL) != 0 || r->zero != 0)
        return "record with unknown flags";
    if (r->flow >= REC_FLOWS_MAX)
        return "flow number above 1023";
    if (r->vclass >= CLASS_COUNT)
        return "unknown value class";
    if (r->slot > 16383 && r->slot != REC_NO_SLOT)
        return "hash slot above 16383";
    if (r->epoch == 0)
        return "record with epoch 0";
    if ((r->flags & RF_PLAINSET) != 0 && r->len < PLAINSET_PREFIX + 8)
        return "plain SET too short";
    return NULL;
}

bool recin_never_began(const struct recin *in)
{
    struct stat st;
    return in->offset <= REC_STREAM && in->eof && fstat(in->fd, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static enum recin_result at_end(struct recin *in, size_t have)
{
    if (have > 0) {
        (void)damaged(in, "record cut short");
        return RECIN_CUT;
    }
    if (in->ended)
        return RECIN_END;
    (void)damaged(in, in->kind == 0 ? "empty input" : "stream without an END record: it was cut short");
    return RECIN_CUT;
}

enum recin_result recin_next(struct recin *in, struct rec *r, const uint8_t **payload)
{
    size_t have = in->b.len - in->start;
    if (have < 4)
        return in->eof ? at_end(in, have) : RECIN_MORE;
    const uint8_t *p = in->b.p + in->start;
    if (have < REC_HEADER && memcmp(p, magic, 4) != 0)
        return in->eof ? at_end(in, have) : RECIN_MORE;
    if (memcmp(p, magic, 4) == 0)
        return take_stream_header(in, p, have);
    if (in->kind == 0)
        return damaged(in, "no record stream: wrong magic");
    if (in->ended)
        return damaged(in, "bytes after the END record");
    memcpy(r, p, REC_HEADER);
    const char *fault = header_fault(in, r);
    if (fault != NULL)
        return damaged(in, fault);
    if (have - REC_HEADER < r->len)
        return in->eof ? at_end(in, have) : RECIN_MORE;
    *payload = p + REC_HEADER;
    in->start += REC_HEADER + r->len;
    in->offset += REC_HEADER + r->len;
    if (r->type == REC_END)
        in->ended = true;
    return RECIN_RECORD;
}

bool recin_ready(const struct recin *in)
{
    size_t have = in->b.len - in->start;
    if (in->eof)
        return true;
    if (have < REC_HEADER)
        return have >= REC_STREAM && memcmp(in->b.p + in->start, magic, 4) == 0;
    uint32_t len;
    memcpy(&len, in->b.p + in->start, sizeof len);
    return len > REC_PAYLOAD_MAX || have - REC_HEADER >= len;
}

void recout_init(struct recout *o, int fd, size_t limit)
{
    memset(o, 0, sizeof *o);
    o->fd = fd;
    o->limit = limit;
    o->b.max = limit + REC_PAYLOAD_MAX + 2 * REC_HEADER;
}

void recout_free(struct recout *o)
{
    buf_free(&o->b);
}

int recout_flush(struct recout *o)
{
    if (o->b.len == 0)
        return 0;
    uint64_t begun = mono_us();
    int rc = io_write_all(o->fd, o->b.p, o->b.len);
    o->waited += mono_us() - begun;
    if (rc == 0)
        o->bytes += o->b.len;
    else if (errno == ECONNRESET) /* a socket whose reader left something unread */
        errno = EPIPE;
    o->b.len = 0;
    return rc;
}

int recout_stream(struct recout *o, enum rec_kind kind)
{
    uint8_t *to = recout_room(o, REC_STREAM);
    if (to == NULL)
        return -1;
    rec_stream_header(to, kind);
    o->b.len += REC_STREAM;
    return 0;
}

int recout_put(struct recout *o, struct rec *r, const void *payload, size_t n)
{
    uint8_t *to = recout_room(o, REC_HEADER + n);
    if (to == NULL)
        return -1;
    r->len = (uint32_t)n;
    rec_encode(to, r);
    if (n > 0)
        memcpy(to + REC_HEADER, payload, n);
    o->b.len += REC_HEADER + n;
    return 0;
}
