/* Sets of slots and their text; a flow's holding where the model does not come. */
#include "../../common/slotset.h"
#include "../../parser/reread/holding.h"
#include "test.h"

static struct slotset of(const char *text)
{
    struct slotset s;
    CHECK(slotset_parse(&s, text));
    return s;
}

static void texts(void)
{
    static const char *const same[] = {"-", "0", "16383", "0-16383", "1,3,5-9,16000-16383"};
    static const char *const wrong[] = {
        "",    ",",     "1,",      "1-", "-1",  "5-3",  "a",
        "1 ",  "16384", "0-16384", "~",  "~00", "1--2", "99999999999999999999",
        "1,,2"};
    char text[SLOTSET_TEXT];
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct slotset s = of(same[i]);
        slotset_print(&s, text);
        EQ_S(text, same[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct slotset s;
        CHECK(!slotset_parse(&s, wrong[i]));
    }
}

/* What is too long as ranges is a bitmap, and one that names slots beyond the last is none. */
static void bitmaps(void)
{
    struct slotset s = {{0}}, back;
    char text[SLOTSET_TEXT];
    for (unsigned i = 1; i < SLOTS; i += 2)
        slotset_add(&s, i);
    slotset_print(&s, text);
    EQ(text[0], '~');
    CHECK(strlen(text) < SLOTSET_TEXT);
    CHECK(slotset_parse(&back, text));
    CHECK(slotset_same(&s, &back));
    EQ(slotset_count(&back), SLOTS / 2);
    text[strlen(text) - 1] = '.';
    CHECK(!slotset_parse(&back, text));
    text[0] = '0';
    CHECK(!slotset_parse(&back, text));
}

static void arithmetic(void)
{
    struct slotset a = of("0-99,200"), b = of("50-149");
    slotset_join(&a, &b);
    EQ(slotset_count(&a), 151);
    slotset_drop(&a, &b);
    EQ(slotset_count(&a), 51);
    b = of("0-9,200-300");
    slotset_meet(&a, &b);
    EQ(slotset_count(&a), 11);
    EQ(slotset_next(&a, 10), 200);
    EQ(slotset_next(&a, 201), SLOTS);
    EQ(slotset_next(&a, SLOTS), SLOTS);
}

static void releases_wait(void)
{
    static struct holding h;
    struct slotset s = of("0-9"), one = of("5"), clean;
    uint32_t number;
    holding_begin(&h, &s);
    CHECK(holding_release(&h, 1, 100, &one));
    CHECK(holding_command(&h, 5, 90, false) == HOLD_APPLY);
    CHECK(!holding_release_due(&h, 99, &number, &clean));
    CHECK(holding_release_due(&h, 100, &number, &clean));
    EQ(number, 1);
    CHECK(slotset_has(&clean, 5));
    CHECK(holding_command(&h, 5, 101, false) == HOLD_DROP);
    CHECK(holding_command(&h, 4, 101, false) == HOLD_APPLY);
    for (unsigned i = 0; i < HOLDING_RELEASES; i++)
        CHECK(holding_release(&h, 2 + i, 0, &one));
    CHECK(!holding_release(&h, 99, 0, &one));
    CHECK(!holding_take(&h, 7, &s, true)); /* it has most of them */
}

int main(void)
{
    texts();
    bitmaps();
    arithmetic();
    releases_wait();
    return test_done();
}
