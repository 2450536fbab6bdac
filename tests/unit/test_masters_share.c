/* Shares of a cluster: their text, and that each slot is in exactly one of them. */
#include "../../common/masters_share.h"
#include "test.h"

static void texts(void)
{
    static const char *const wrong[] = {"",     "1",     "/3",   "0/3",        "4/3",    "1/0",
                                        "01/3", "1/03",  "1/3 ", "-1/3",       "1/1025", "1//3",
                                        "a/3",  "1/3/5", "1/",   "10000/10000"};
    struct masters_share s;
    char text[MASTERS_SHARE_TEXT];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(!masters_share_parse(&s, wrong[i]));
        EQ(s.of, 0);
    }
    CHECK(masters_share_parse(&s, "1024/1024"));
    masters_share_print(&s, text);
    EQ_S(text, "1024/1024");
}

static void each_slot_once(void)
{
    for (unsigned of = 1; of <= MASTERS_SHARES; of++) {
        struct slotset all = {{0}}, set;
        unsigned n = 0;
        for (unsigned i = 1; i <= of; i++) {
            struct masters_share s = {.number = i, .of = of};
            masters_share_slots(&s, &set);
            n += slotset_count(&set);
            slotset_join(&all, &set);
            unsigned first = slotset_next(&set, 0);
            CHECK(masters_share_has(&s, first));
            CHECK(first == 0 || !masters_share_has(&s, first - 1));
            CHECK(slotset_count(&set) - SLOTS / of <= 1);
        }
        EQ(n, SLOTS);
        EQ(slotset_count(&all), SLOTS);
    }
}

static void no_shares(void)
{
    struct masters_share s = {.of = 0};
    struct slotset set;
    masters_share_slots(&s, &set);
    EQ(slotset_count(&set), SLOTS);
    CHECK(masters_share_has(&s, 0) && masters_share_has(&s, SLOTS - 1));
}

int main(void)
{
    texts();
    each_slot_once();
    no_shares();
    return test_done();
}
