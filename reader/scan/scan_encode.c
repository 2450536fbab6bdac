#include "scan_encode.h"

#include <stdio.h>
#include <string.h>

#define NO_EXPIRY "\xff\xff\xff\xff\xff\xff\xff\xff"

/* The length of a string, rdb(5). */
static size_t length(uint8_t *to, uint64_t n)
{
    unsigned bytes = n > UINT32_MAX ? 8 : 4;
    if (n < 64) {
        to[0] = (uint8_t)n;
        return 1;
    }
    if (n < 16384) {
        to[0] = (uint8_t)(0x40 | n >> 8);
        to[1] = (uint8_t)n;
        return 2;
    }
    to[0] = bytes == 8 ? 0x81 : 0x80;
    for (unsigned i = 0; i < bytes; i++)
        to[1 + i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
    return 1 + bytes;
}

/* A number as text behind its length; infinities have lengths of their own. */
static void put_score(struct encoder *e)
{
    uint8_t head = (uint8_t)e->score_len;
    e->score[e->score_len] = '\0';
    bool minus = e->score[0] == '-';
    if (strncmp(e->score + minus, "inf", 3) == 0) {
        head = minus ? 255 : 254;
        e->score_len = 0;
    }
    e->put(e->ctx, &head, 1);
    e->put(e->ctx, e->score, e->score_len);
    e->score_len = 0;
}

static void take_score(struct encoder *e, const struct resp_token *t)
{
    if (t->type != 'b')
        return;
    size_t room = sizeof e->score - 1 - e->score_len;
    size_t n = t->len < room ? t->len : room;
    memcpy(e->score + e->score_len, t->text, n);
    e->score_len += n;
    if (t->whole)
        put_score(e);
}

void encode_token(struct encoder *e, enum want_type type, const struct resp_token *t, unsigned index)
{
    uint8_t head[16];
    if (type == TYPE_ZSET && index % 2 == 1) {
        take_score(e, t);
    } else if (t->type == '$' && t->n >= 0 && type != TYPE_STRING) {
        e->put(e->ctx, head, length(head, (uint64_t)t->n));
    } else if (t->type == 'b') {
        e->put(e->ctx, t->text, t->len);
        if (t->whole && type == TYPE_HASH && index % 2 == 1)
            e->put(e->ctx, NO_EXPIRY, sizeof NO_EXPIRY - 1);
    }
}

enum want_type type_named(const char *name, size_t n)
{
    static const struct {
        const char *name;
        enum want_type type;
    } types[] = {{"string", TYPE_STRING}, {"list", TYPE_LIST},     {"set", TYPE_SET},  {"zset", TYPE_ZSET},
                 {"hash", TYPE_HASH},     {"stream", TYPE_STREAM}, {"none", TYPE_NONE}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (n == strlen(types[i].name) && memcmp(name, types[i].name, n) == 0)
            return types[i].type;
    return TYPE_OTHER;
}
