/* Decompresses one recorded blob: opcode 211 may be inside the last one. */
#include "standin.h"

#include <lz4frame.h>
#include <zstd.h>

#define MAX_CONTENT (UINT64_C(64) << 20)

static bool inflate_lz4(const uint8_t *p, size_t n, struct buf *out)
{
    LZ4F_dctx *ctx;
    size_t at = 0, rest = 1;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&ctx, LZ4F_VERSION)))
        return false;
    while (rest != 0 && at < n && out->len < MAX_CONTENT) {
        size_t room = 65536, used = n - at;
        rest = LZ4F_decompress(ctx, buf_room(out, room), &room, p + at, &used, NULL);
        if (LZ4F_isError(rest))
            break;
        out->len += room;
        at += used;
    }
    LZ4F_freeDecompressionContext(ctx);
    return rest == 0;
}

static bool inflate_zstd(const uint8_t *p, size_t n, struct buf *out)
{
    unsigned long long size = ZSTD_getFrameContentSize(p, n);
    if (size > MAX_CONTENT)
        return false; /* unknown and error are huge numbers */
    size_t got = ZSTD_decompress(buf_room(out, (size_t)size + 1), (size_t)size + 1, p, n);
    if (ZSTD_isError(got))
        return false;
    out->len += got;
    return true;
}

bool inflate_blob(const uint8_t *p, size_t n, struct buf *out)
{
    uint64_t len;
    size_t head = n ? walk_plen(p + 1, n - 1, &len) : 0;
    if (!head || len != n - 1 - head)
        return false;
    const uint8_t *frame = p + 1 + head;
    return p[0] == 0xca ? inflate_lz4(frame, (size_t)len, out) : inflate_zstd(frame, (size_t)len, out);
}
