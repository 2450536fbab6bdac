#include "blob.h"

#include <lz4frame.h>
#include <zstd.h>

#define OUT_STEP   ((size_t)128 << 10)
#define DIRECT_MAX ((size_t)2 << 20)
#define OUT_MAX    ((size_t)64 << 20)

void blob_begin(struct blob *b, bool zstd, uint64_t len)
{
    b->active = true;
    b->zstd = zstd;
    b->finished = b->direct = b->sized = false;
    b->left = len;
    b->content = b->produced = 0;
    b->out.len = b->start = b->need = 0;
    b->out.max = OUT_MAX;
}

void blob_free(struct blob *b)
{
    if (b->lz4 != NULL)
        LZ4F_freeDecompressionContext(b->lz4);
    if (b->zs != NULL)
        ZSTD_freeDCtx(b->zs);
    buf_free(&b->out);
    memset(b, 0, sizeof *b);
}

/* Read the frame's header for the size of its content. */
static enum got open_lz4(struct blob *b, struct cur *c)
{
    LZ4F_frameInfo_t info;
    if (b->lz4 == NULL) {
        LZ4F_dctx *ctx;
        if (LZ4F_isError(LZ4F_createDecompressionContext(&ctx, LZ4F_VERSION)))
            return cur_bad(c, "memory for LZ4");
        b->lz4 = ctx;
    }
    LZ4F_resetDecompressionContext(b->lz4);
    size_t have = cur_left(c) < b->left ? cur_left(c) : (size_t)b->left;
    if (have < LZ4F_HEADER_SIZE_MAX && have < b->left)
        return cur_need(c, b->left < LZ4F_HEADER_SIZE_MAX ? b->left : LZ4F_HEADER_SIZE_MAX);
    size_t used = have;
    size_t rc = LZ4F_getFrameInfo(b->lz4, &info, c->p, &used);
    if (LZ4F_isError(rc))
        return cur_bad(c, "an LZ4 frame");
    c->p += used;
    b->left -= used;
    b->content = info.contentSize;
    return GOT;
}

static enum got open_zstd(struct blob *b, struct cur *c)
{
    if (b->zs == NULL && (b->zs = ZSTD_createDCtx()) == NULL)
        return cur_bad(c, "memory for zstd");
    ZSTD_DCtx_reset(b->zs, ZSTD_reset_session_only);
    ZSTD_DCtx_setParameter(b->zs, ZSTD_d_windowLogMax, 24); /* no frame makes us take more than 16 MiB */
    size_t have = cur_left(c) < b->left ? cur_left(c) : (size_t)b->left;
    if (have < 18 && have < b->left) /* the largest header */
        return cur_need(c, b->left < 18 ? b->left : 18);
    unsigned long long size = ZSTD_getFrameContentSize(c->p, have);
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN)
        return cur_bad(c, "a zstd frame with its content size");
    if (ZSTD_getDictID_fromFrame(c->p, have) != 0) /* the library notices it only in some of its ways */
        return cur_bad(c, "a zstd frame without dictionary");
    b->content = size;
    return GOT;
}

static enum got open_frame(struct blob *b, struct cur *c)
{
    enum got g = b->zstd ? open_zstd(b, c) : open_lz4(b, c);
    if (g != GOT)
        return g;
    if (b->content == 0 || b->content > BLOB_CONTENT_MAX)
        return cur_bad(c, "a compressed blob with a content size of at most 1 GiB");
    b->sized = true;
    b->direct = b->content <= DIRECT_MAX;
    if (b->direct && buf_room(&b->out, (size_t)b->content) == NULL)
        return cur_bad(c, "memory for a blob");
    return GOT;
}

/* One call of the library. *in: bytes offered, then taken; *out: room, then bytes made. */
static bool unpack_step(struct blob *b, uint8_t *to, size_t *out, const uint8_t *from, size_t *in)
{
    if (b->zstd) {
        ZSTD_inBuffer ib = {from, *in, 0};
        ZSTD_outBuffer ob = {to, *out, 0};
        size_t rc = ZSTD_decompressStream(b->zs, &ob, &ib);
        *in = ib.pos;
        *out = ob.pos;
        b->finished = rc == 0;
        return !ZSTD_isError(rc);
    }
    LZ4F_decompressOptions_t opt = {.stableDst = b->direct};
    size_t rc = LZ4F_decompress(b->lz4, to, out, from, in, &opt);
    b->finished = rc == 0;
    return !LZ4F_isError(rc);
}

enum got blob_unpack(struct blob *b, struct cur *c)
{
    if (!b->sized) {
        enum got g = open_frame(b, c);
        if (g != GOT)
            return g;
    }
    if (b->start > 0 && !b->direct) {
        buf_shift(&b->out, b->start);
        b->start = 0;
    }
    size_t had = b->out.len, goal = b->direct ? (size_t)b->content : b->out.len + OUT_STEP;
    while (!b->finished && b->out.len < goal) {
        size_t in = cur_left(c) < b->left ? cur_left(c) : (size_t)b->left;
        if (buf_room(&b->out, goal - b->out.len) == NULL)
            return cur_bad(c, "an item of at most 64 MiB in a compressed blob");
        size_t out = goal - b->out.len;
        if (!unpack_step(b, b->out.p + b->out.len, &out, c->p, &in))
            return cur_bad(c, b->zstd ? "a valid zstd frame" : "a valid LZ4 frame");
        c->p += in;
        b->left -= in;
        b->out.len += out;
        b->produced += out;
        if (b->produced > b->content)
            return cur_bad(c, "a frame that unpacks to its content size");
        if (in == 0 && out == 0 && !b->finished) {
            if (b->left == 0)
                return cur_bad(c, "a whole compressed frame");
            bool useful = !b->direct && b->out.len > had && b->out.len - b->start >= b->need;
            return useful ? GOT : cur_need(c, 1);
        }
    }
    /* An LZ4 frame has an end mark behind its last byte of content. */
    while (!b->finished && b->produced == b->content && b->left > 0) {
        size_t in = cur_left(c) < b->left ? cur_left(c) : (size_t)b->left;
        size_t out = 0;
        uint8_t none;
        if (in == 0)
            return cur_need(c, 1);
        if (!unpack_step(b, &none, &out, c->p, &in))
            return cur_bad(c, "the end of a compressed frame");
        c->p += in;
        b->left -= in;
        if (in == 0 && !b->finished)
            return cur_bad(c, "the end of a compressed frame");
    }
    if (b->finished && (b->produced != b->content || b->left != 0))
        return cur_bad(c, "a frame of exactly its content size");
    if (!b->finished && b->produced == b->content && b->left == 0)
        return cur_bad(c, "the end of a compressed frame");
    return GOT;
}
