/* Programs: made, read back, and every way of being malformed. Slot tags. */
#include <stdlib.h>

#include "../../common/program.h"
#include "../../common/slot.h"
#include "test.h"

static void make(struct buf *b)
{
    struct program p;
    program_begin(&p, b);
    program_step(&p, 100, 0, 1, STEP_MUST);
    program_str(&p, "DUMP");
    program_bulk(&p, "a\0b", 3);
    program_step(&p, 200, 1, 0, STEP_ALWAYS);
    program_str(&p, "RESTORE");
    program_reg(&p, 1);
    program_step(&p, 16383, STEP_NOT | 32, 32, STEP_TTL);
    program_str(&p, "PTTL");
    CHECK(program_end(&p) == 0);
}

static void there_and_back(void)
{
    struct buf b = {.max = 4096};
    make(&b);
    CHECK(program_check(b.p, b.len) == NULL);
    size_t at = 0, arg = 0;
    struct step s;
    struct slice v;
    unsigned reg;
    CHECK(program_next(b.p, b.len, &at, &s) && s.slot == 100 && s.cond == 0 && s.keep == 1 &&
          s.flags == STEP_MUST);
    EQ(s.argc, 2);
    CHECK(program_arg(&s, &arg, &v, &reg) && reg == 0 && v.n == 4 && memcmp(v.p, "DUMP", 4) == 0);
    CHECK(program_arg(&s, &arg, &v, &reg) && reg == 0 && v.n == 3 && memcmp(v.p, "a\0b", 3) == 0);
    CHECK(!program_arg(&s, &arg, &v, &reg));
    CHECK(program_next(b.p, b.len, &at, &s) && s.slot == 200 && s.cond == 1);
    arg = 0;
    CHECK(program_arg(&s, &arg, &v, &reg) && program_arg(&s, &arg, &v, &reg) && reg == 1);
    CHECK(program_next(b.p, b.len, &at, &s) && s.cond == (STEP_NOT | 32) && s.keep == 32 &&
          s.flags == STEP_TTL);
    CHECK(!program_next(b.p, b.len, &at, &s));
    buf_free(&b);
}

/* Whatever program_check lets pass can be walked without leaving the record (ASan looks on). */
static void walk(const uint8_t *from, size_t n)
{
    uint8_t *p = malloc(n + 1);
    memcpy(p, from, n);
    if (program_check(p, n) == NULL) {
        size_t at = 0;
        struct step s;
        while (program_next(p, n, &at, &s)) {
            size_t arg = 0;
            struct slice v;
            unsigned reg, argc = 0;
            while (program_arg(&s, &arg, &v, &reg))
                argc++;
            EQ(argc, s.argc);
        }
        EQ(at, n);
    }
    free(p);
}

static void damaged(void)
{
    struct buf b = {.max = 4096};
    make(&b);
    for (size_t n = 0; n < b.len; n++)
        CHECK(program_check(b.p, n) != NULL);
    for (size_t i = 0; i < b.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b.p[i] ^= (uint8_t)(1u << bit);
            walk(b.p, b.len);
            b.p[i] ^= (uint8_t)(1u << bit);
        }
    buf_free(&b);
}

static void too_large(void)
{
    struct buf b = {.max = 64};
    struct program p;
    program_begin(&p, &b);
    program_step(&p, 1, 0, 0, 0);
    for (int i = 0; i < 10; i++)
        program_str(&p, "0123456789");
    CHECK(program_end(&p) == -1);
    b.max = 4096;
    program_begin(&p, &b);
    for (unsigned i = 0; i <= PROGRAM_STEPS; i++) {
        program_step(&p, 1, 0, 0, 0);
        program_str(&p, "X");
    }
    CHECK(program_end(&p) == -1);
    buf_free(&b);
}

static void tags(void)
{
    for (unsigned s = 0; s < SLOTS; s++) {
        char tag[SLOT_TAG_MAX];
        slot_tag(s, tag);
        EQ(key_slot(tag, strlen(tag)), s);
    }
}

int main(void)
{
    there_and_back();
    damaged();
    too_large();
    tags();
    return test_done();
}
