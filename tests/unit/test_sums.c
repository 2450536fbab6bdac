/* CRC64 (rdb(5), CHECKSUM) and hash slots. */
#include "test.h"

#include "../../common/crc64.h"
#include "../../common/slot.h"

static uint64_t crc_slow(uint64_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
    }
    return crc;
}

static void crcs(void)
{
    EQ(crc64(0, "", 0), 0);
    EQ(crc64(0, "123456789", 9), UINT64_C(0xe9c6d914c4b8d9ca));
    EQ(crc64(0, "\x01", 1), UINT64_C(0x7ad870c830358979));
    EQ(crc64(0, "\x02", 1), UINT64_C(0xf5b0e190606b12f2));
    EQ(crc64(0, "\x03", 1), UINT64_C(0x8f689158505e9b8b));
    uint64_t c = crc64(0, "\x00\xc0\x0a\x0a\x00", 5);
    EQ_HEX(&c, 8, "6e 9f 57 45 0e ae 63 bb");
    /* a whole file, and a payload */
    struct buf b = hex("52 45 44 49 53 30 30 30 39 fe 00 fb 01 00 00 01 61 c0 01 ff");
    c = crc64(0, b.p, b.len);
    EQ_HEX(&c, 8, "4b 30 49 7b 4c 24 f6 38");
    buf_free(&b);
    c = crc64(0,
              "\x00\x03"
              "bar\x09\x00",
              7);
    EQ_HEX(&c, 8, "36 4c 18 ac ba e0 9e a6");
    /* every length and alignment against the bit-by-bit form, in one piece and in two */
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 167 + 13);
    for (size_t at = 0; at < 16; at++)
        for (size_t n = 0; n < 280; n++) {
            uint64_t want = crc_slow(0, data + at, n);
            if (crc64(0, data + at, n) != want ||
                crc64(crc64(0, data + at, n / 3), data + at + n / 3, n - n / 3) != want)
                EQ(crc64(0, data + at, n), want);
        }
    EQ(crc64(UINT64_C(0x123456789abcdef), data, 300), crc_slow(UINT64_C(0x123456789abcdef), data, 300));
}

static unsigned crc16_slow(const char *p, size_t n)
{
    unsigned crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned)(uint8_t)p[i] << 8;
        for (int k = 0; k < 8; k++)
            crc = ((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
}

static void slot_of(const char *key, size_t n, const char *part, size_t pn)
{
    EQ(key_slot(key, n), crc16_slow(part, pn) % 16384);
}

static void slots(void)
{
    EQ(crc16_slow("123456789", 9), 0x31c3);
    EQ(key_slot("123456789", 9), 0x31c3);
    EQ(key_slot("", 0), 0);
    EQ(key_slot("foo", 3), 12182);
    EQ(key_slot("bar", 3), 5061);
    EQ(key_slot("somekey", 7), 11058);
    EQ(key_slot("foo{hash_tag}", 13), 2515);
    EQ(key_slot("bar{hash_tag}", 13), 2515);
    EQ(key_slot("{user1000}.following", 20), key_slot("{user1000}.followers", 20));
    slot_of("{user1000}.following", 20, "user1000", 8);
    slot_of("foo{}{bar}", 10, "foo{}{bar}", 10); /* an empty tag: the whole key */
    slot_of("foo{{bar}}zap", 13, "{bar", 4);     /* from the first { to the first } behind it */
    slot_of("foo{bar}{zap}", 13, "bar", 3);
    slot_of("foo{bar", 7, "foo{bar", 7); /* not closed */
    slot_of("foo}bar{", 8, "foo}bar{", 8);
    slot_of("}{a}", 4, "a", 1);
    slot_of("{", 1, "{", 1);
    slot_of("{}", 2, "{}", 2);
    slot_of("a\0{b\0}", 6, "b\0", 2); /* keys are bytes */
    slot_of("\xff\x80", 2, "\xff\x80", 2);
}

int main(void)
{
    crcs();
    slots();
    return test_done();
}
