/*
 * The generated keys.  Key i is a pure function of (seed, i): the flow that has it (i modulo the
 * number of flows), its type, value and expiry.  So the snapshot, the file exports and a second
 * session all hold the same data without keeping any of it.
 */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

#define POOL      ((size_t)64 * 1024)
#define TEXT_RUN  20u /* a piece of text, and the digits before it */
#define DIGIT_RUN 12u
#define BIG_PIECE ((size_t)256 * 1024)
/* Where Dragonfly's small encodings end. */
#define HASH_LISTPACK_BYTES   1024u
#define ZSET_LISTPACK_MEMBERS 128u
#define LIST_NODE_BYTES       8192u

static void pool_fill(char *pool)
{
    static const char *const word[] = {
        "river",  "stone ", "lamp",    "garden", "north",  "window ", "paper",  "cloud ",
        "market", "bridge", "seven ",  "candle", "summer", "ledger ", "copper", "orchard ",
        "letter", "harbor", "winter ", "signal", "meadow", "thread ", "silver", "quiet ",
    };
    size_t n = 0;
    for (uint64_t i = 0; n < POOL + TEXT_RUN; i++) {
        const char *w = word[mix2(opt.seed, i) % (sizeof word / sizeof *word)];
        size_t len = strlen(w);
        if (len > POOL + TEXT_RUN - n)
            len = POOL + TEXT_RUN - n;
        memcpy(pool + n, w, len);
        n += len;
    }
}

void dataset_init(struct dataset *d)
{
    *d = (struct dataset){0};
    d->text = grab(POOL + TEXT_RUN);
    pool_fill(d->text);
    unsigned types = 0;
    for (unsigned t = 0; t < TYPE_COUNT; t++) {
        d->weights += opt.weight[t];
        if (!opt.weight[t])
            continue;
        types++;
        d->only = (enum value_type)t;
    }
    d->one_type = types == 1;
}

void dataset_free(struct dataset *d)
{
    free(d->text);
    buf_free(&d->scratch);
    buf_free(&d->element);
}

uint64_t dataset_flow_keys(unsigned flow)
{
    return opt.keys / opt.flows + (flow < opt.keys % opt.flows ? 1 : 0);
}

static enum value_type key_type(const struct dataset *d, uint64_t index)
{
    if (d->one_type)
        return d->only;
    uint64_t r = mix2(opt.seed ^ 0x7479, index) % d->weights;
    unsigned t = 0;
    while (r >= opt.weight[t])
        r -= opt.weight[t++];
    return (enum value_type)t;
}

size_t key_name(char *out, uint64_t index)
{
    memcpy(out, "key:", 4);
    if (index >= UINT64_C(10000000000))
        return 4 + format_u64(out + 4, index);
    for (unsigned i = 13; i >= 4; i--) {
        out[i] = (char)('0' + index % 10);
        index /= 10;
    }
    return 14;
}

void value_bytes(const struct dataset *d, uint8_t *out, size_t n, uint64_t tag)
{
    uint64_t r = mix2(opt.seed, tag);
    while (n > 0) {
        uint8_t run[DIGIT_RUN + TEXT_RUN];
        for (unsigned i = 0; i < DIGIT_RUN; i += 2) {
            unsigned pair = (unsigned)(r >> (3 * i)) & 63u;
            run[i] = (uint8_t)('0' + pair / 10);
            run[i + 1] = (uint8_t)('0' + pair % 10);
        }
        memcpy(run + DIGIT_RUN, d->text + (r >> 48) % POOL, TEXT_RUN);
        size_t part = n < sizeof run ? n : sizeof run;
        memcpy(out, run, part);
        out += part;
        n -= part;
        r = mix64(r);
    }
}

/* ---- elements of containers: the same text for the RDB and the RESP form ---- */

static size_t prefixed(char *out, const char *prefix, uint64_t number)
{
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    return n + format_u64(out + n, number);
}

/* A hash's value or a list's element: every fourth is a number. */
static size_t element_value(struct dataset *d, uint64_t index, uint64_t j)
{
    uint64_t tag = mix2(index, j);
    d->element.len = 0;
    if (j % 4 == 3) {
        char *out = (char *)buf_room(&d->element, 24);
        size_t sign = tag & 1;
        out[0] = '-';
        return d->element.len = sign + format_u64(out + sign, 1 + (tag >> 8) % 70000);
    }
    value_bytes(d, buf_room(&d->element, opt.element_size), opt.element_size, tag);
    return d->element.len = opt.element_size;
}

static size_t element_field(char *out, uint64_t j)
{
    return prefixed(out, "f", j);
}

static size_t element_member(char *out, uint64_t index, uint64_t j)
{
    if (j % 5 == 4)
        return format_u64(out, j * 977 + index % 977); /* distinct by j */
    size_t n = prefixed(out, "m", j);
    out[n++] = ':';
    return n + format_u64(out + n, mix2(index, j) % 100000);
}

/* Ascending, as a sorted set is written; quarters are exact in binary and in text. */
static double element_score(uint64_t index, uint64_t j)
{
    return (double)(index % 1000) + (double)j + (double)(j % 4) * 0.25;
}

static size_t score_text(char *out, uint64_t index, uint64_t j)
{
    static const char *const fraction[] = {"", ".25", ".5", ".75"};
    size_t n = format_u64(out, index % 1000 + j);
    size_t f = strlen(fraction[j % 4]);
    memcpy(out + n, fraction[j % 4], f);
    return n + f;
}

/* ---- RDB form ---- */

/* Appends the scratch buffer as the listpack's pstr. */
static void put_scratch(struct dataset *d, struct buf *out)
{
    buf_plen(out, d->scratch.len);
    buf_put(out, d->scratch.p, d->scratch.len);
}

static bool hash_is_small(struct dataset *d, uint64_t index)
{
    char field[32];
    d->scratch.len = 0;
    size_t start = listpack_begin(&d->scratch);
    for (uint64_t j = 0; j < opt.elements; j++) {
        listpack_add(&d->scratch, field, element_field(field, j));
        size_t n = element_value(d, index, j);
        listpack_add(&d->scratch, (char *)d->element.p, n);
        if (d->scratch.len >= HASH_LISTPACK_BYTES)
            return false;
    }
    listpack_end(&d->scratch, start, opt.elements * 2);
    return true;
}

static void hash_value(struct dataset *d, struct buf *out, uint64_t index)
{
    char field[32];
    buf_plen(out, opt.elements);
    for (uint64_t j = 0; j < opt.elements; j++) {
        buf_pstr(out, field, element_field(field, j));
        size_t n = element_value(d, index, j);
        buf_pstr(out, d->element.p, n);
    }
}

static void zset_value(struct dataset *d, struct buf *out, uint64_t index, bool small)
{
    char member[64], score[48];
    d->scratch.len = 0;
    size_t start = small ? listpack_begin(&d->scratch) : 0;
    if (!small)
        buf_plen(out, opt.elements);
    for (uint64_t j = 0; j < opt.elements; j++) {
        size_t n = element_member(member, index, j);
        if (small) {
            listpack_add(&d->scratch, member, n);
            listpack_add(&d->scratch, score, score_text(score, index, j));
        } else {
            double value = element_score(index, j);
            uint64_t bits;
            memcpy(&bits, &value, sizeof bits);
            buf_pstr(out, member, n);
            buf_le(out, bits, 8);
        }
    }
    if (!small)
        return;
    listpack_end(&d->scratch, start, opt.elements * 2);
    put_scratch(d, out);
}

static void list_node(struct dataset *d, struct buf *out, size_t start, uint64_t count)
{
    listpack_end(&d->scratch, start, count);
    buf_plen(out, 2); /* PACKED */
    put_scratch(d, out);
}

/* Nodes of up to 8 KiB; an element that alone is larger gets a PLAIN node.  The number of nodes
 * comes first and is known last, so a first pass counts. */
static void list_value(struct dataset *d, struct buf *out, uint64_t index)
{
    uint64_t nodes = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t count = 0;
        d->scratch.len = 0;
        size_t start = listpack_begin(&d->scratch);
        if (pass == 1)
            buf_plen(out, nodes);
        for (uint64_t j = 0; j < opt.elements; j++) {
            size_t n = element_value(d, index, j);
            bool plain = n > LIST_NODE_BYTES;
            if (count && (plain || d->scratch.len + n > LIST_NODE_BYTES)) {
                if (pass == 1)
                    list_node(d, out, start, count);
                else
                    nodes++;
                count = 0;
                d->scratch.len = 0;
                start = listpack_begin(&d->scratch);
            }
            if (plain) {
                nodes += pass == 0;
                if (pass == 0)
                    continue;
                buf_plen(out, 1);
                buf_pstr(out, d->element.p, n);
            } else {
                listpack_add(&d->scratch, (char *)d->element.p, n);
                count++;
            }
        }
        if (count && pass == 1)
            list_node(d, out, start, count);
        else
            nodes += count > 0;
    }
}

static void set_value(struct buf *out, uint64_t index)
{
    char member[64];
    buf_plen(out, opt.elements);
    for (uint64_t j = 0; j < opt.elements; j++)
        buf_pstr(out, member, element_member(member, index, j));
}

static void type_and_key(struct buf *out, uint8_t type, uint64_t index)
{
    char key[32];
    size_t n = key_name(key, index);
    buf_byte(out, type);
    buf_plen(out, n);
    buf_put(out, key, n);
}

/* The common case, with one reservation for the whole entry. */
static void string_entry(const struct dataset *d, struct buf *out, uint64_t index)
{
    uint8_t *p = buf_room(out, 64 + opt.value_size);
    *p = 0;
    size_t n = key_name((char *)p + 2, index);
    p[1] = (uint8_t)n; /* < 64: one length byte */
    out->len += 2 + n;
    if (opt.value_size <= 11) { /* may be a number, which has another form */
        uint8_t text[16];
        value_bytes(d, text, opt.value_size, index);
        buf_pstr(out, text, opt.value_size);
        return;
    }
    buf_plen(out, opt.value_size);
    value_bytes(d, buf_room(out, opt.value_size), opt.value_size, index);
    out->len += opt.value_size;
}

void rdb_key_value(struct dataset *d, struct buf *out, uint64_t index)
{
    uint64_t expiry = opt.expiry;
    if (expiry) {
        buf_byte(out, 0xfc);
        buf_le(out, expiry, 8);
    }
    switch (key_type(d, index)) {
    case TYPE_HASH:
        if (hash_is_small(d, index)) {
            type_and_key(out, 16, index);
            put_scratch(d, out);
        } else {
            type_and_key(out, 4, index);
            hash_value(d, out, index);
        }
        break;
    case TYPE_ZSET: {
        bool small = opt.elements <= ZSET_LISTPACK_MEMBERS;
        type_and_key(out, small ? 17 : 5, index);
        zset_value(d, out, index, small);
        break;
    }
    case TYPE_LIST:
        type_and_key(out, 18, index);
        list_value(d, out, index);
        break;
    case TYPE_SET:
        type_and_key(out, 2, index);
        set_value(out, index);
        break;
    case TYPE_STRING:
    case TYPE_COUNT: string_entry(d, out, index); break;
    }
}

/* ---- RESP form ---- */

static void resp_head(struct buf *out, size_t argc, const char *command, uint64_t index)
{
    char key[32];
    size_t n = key_name(key, index);
    buf_array(out, argc);
    buf_bulk(out, command, strlen(command));
    buf_bulk(out, key, n);
}

static void resp_expiry(struct buf *out, uint64_t expiry)
{
    char ms[24];
    buf_bulk(out, ms, format_u64(ms, expiry));
}

static void string_resp(struct dataset *d, struct buf *out, uint64_t index, uint64_t expiry)
{
    resp_head(out, expiry ? 5 : 3, "SET", index);
    d->element.len = 0;
    value_bytes(d, buf_room(&d->element, opt.value_size), opt.value_size, index);
    buf_bulk(out, d->element.p, opt.value_size);
    if (!expiry)
        return;
    buf_bulk(out, "PXAT", 4);
    resp_expiry(out, expiry);
}

static void container_resp(struct dataset *d, struct buf *out, enum value_type type, uint64_t index)
{
    static const char *const command[TYPE_COUNT] = {"SET", "HSET", "ZADD", "RPUSH", "SADD"};
    bool pairs = type == TYPE_HASH || type == TYPE_ZSET;
    char text[64];
    resp_head(out, 2 + opt.elements * (pairs ? 2 : 1), command[type], index);
    for (uint64_t j = 0; j < opt.elements; j++) {
        if (type == TYPE_HASH)
            buf_bulk(out, text, element_field(text, j));
        if (type == TYPE_ZSET)
            buf_bulk(out, text, score_text(text, index, j));
        if (type == TYPE_ZSET || type == TYPE_SET) {
            buf_bulk(out, text, element_member(text, index, j));
        } else {
            size_t n = element_value(d, index, j);
            buf_bulk(out, d->element.p, n);
        }
    }
}

void key_resp(struct dataset *d, struct buf *out, uint64_t index)
{
    uint64_t expiry = opt.expiry;
    enum value_type type = key_type(d, index);
    if (type == TYPE_STRING) {
        string_resp(d, out, index, expiry);
        return;
    }
    container_resp(d, out, type, index);
    if (!expiry)
        return;
    resp_head(out, 3, "PEXPIREAT", index);
    resp_expiry(out, expiry);
}

/* ---- the big string: head, then parts that need not be held together ---- */

void big_head(struct buf *out, bool resp)
{
    if (!resp) {
        buf_byte(out, 0);
        buf_pstr(out, BIG_KEY, sizeof BIG_KEY - 1);
        buf_plen(out, opt.big_value);
        return;
    }
    char size[32] = "$";
    buf_array(out, 3);
    buf_bulk(out, "SET", 3);
    buf_bulk(out, BIG_KEY, sizeof BIG_KEY - 1);
    buf_put(out, size, 1 + format_u64(size + 1, opt.big_value));
    buf_put(out, "\r\n", 2);
}

size_t big_part(const struct dataset *d, struct buf *out, uint64_t offset)
{
    uint64_t left = opt.big_value - offset;
    size_t n = left < BIG_PIECE ? (size_t)left : BIG_PIECE;
    value_bytes(d, buf_room(out, n), n, mix2(0x626967, offset));
    out->len += n;
    return n;
}
