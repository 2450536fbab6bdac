/* Blobs: opcodes 201 (zstd) and 202 (LZ4 frame), as the master would compress them. */
#include "standin.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <zstd.h>

#define MIN_INPUT  256u /* less is sent as it is */
#define LZ4_LEVEL  1
#define ZSTD_LEVEL 2

struct packer {
    ZSTD_CCtx *zstd;
    struct buf packed;
};

struct packer *packer_new(void)
{
    struct packer *p = grab(sizeof *p);
    if (opt.compression == COMPRESS_ZSTD && !(p->zstd = ZSTD_createCCtx()))
        die("out of memory (zstd)");
    return p;
}

void packer_free(struct packer *p)
{
    if (!p)
        return;
    ZSTD_freeCCtx(p->zstd);
    buf_free(&p->packed);
    free(p);
}

static size_t pack_lz4(struct packer *p, const struct buf *raw)
{
    LZ4F_preferences_t prefs = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB,
                      .blockMode = LZ4F_blockIndependent,
                      .contentSize = raw->len},
        .compressionLevel = LZ4_LEVEL,
    };
    size_t room = LZ4F_compressFrameBound(raw->len, &prefs);
    size_t n = LZ4F_compressFrame(buf_room(&p->packed, room), room, raw->p, raw->len, &prefs);
    if (LZ4F_isError(n))
        die("LZ4: %s", LZ4F_getErrorName(n));
    return n;
}

static size_t pack_zstd(struct packer *p, const struct buf *raw)
{
    size_t room = ZSTD_compressBound(raw->len);
    size_t n = ZSTD_compressCCtx(p->zstd, buf_room(&p->packed, room), room, raw->p, raw->len, ZSTD_LEVEL);
    if (ZSTD_isError(n))
        die("zstd: %s", ZSTD_getErrorName(n));
    return n;
}

const struct buf *packer_pack(struct packer *p, const struct buf *raw, struct buf *out)
{
    if (opt.compression == COMPRESS_NONE || raw->len < MIN_INPUT)
        return raw;
    p->packed.len = 0;
    size_t n = opt.compression == COMPRESS_LZ4 ? pack_lz4(p, raw) : pack_zstd(p, raw);
    if (n > raw->len / 100 * 95)
        return raw;
    out->len = 0;
    buf_byte(out, opt.compression == COMPRESS_LZ4 ? 0xca : 0xc9);
    buf_plen(out, n);
    buf_put(out, p->packed.p, n);
    return out;
}
