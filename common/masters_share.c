#include "masters_share.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At most four digits, none of them a leading zero; moves *p behind them. 0: there is no such number. */
static unsigned take_number(const char **p)
{
    unsigned n = 0, digits = 0;
    for (; isdigit((unsigned char)**p) && digits < 4; (*p)++, digits++) {
        if (digits == 0 && **p == '0')
            return 0;
        n = n * 10 + (unsigned)(**p - '0');
    }
    return n;
}

bool masters_share_parse(struct masters_share *s, const char *text)
{
    *s = (struct masters_share){.of = 0};
    unsigned number = take_number(&text);
    if (number == 0 || *text++ != '/')
        return false;
    unsigned of = take_number(&text);
    if (*text != '\0' || of < number || of > MASTERS_SHARES)
        return false;
    *s = (struct masters_share){.number = number, .of = of};
    return true;
}

void masters_share_print(const struct masters_share *s, char out[MASTERS_SHARE_TEXT])
{
    snprintf(out, MASTERS_SHARE_TEXT, "%u/%u", s->number % 10000, s->of % 10000);
}

/* The first slot behind that many shares. */
static unsigned behind(const struct masters_share *s, unsigned shares)
{
    return shares * SLOTS / s->of;
}

void masters_share_slots(const struct masters_share *s, struct slotset *slots)
{
    memset(slots, 0, sizeof *slots);
    if (s->of == 0)
        slotset_add_range(slots, 0, SLOTS - 1);
    else
        slotset_add_range(slots, behind(s, s->number - 1), behind(s, s->number) - 1);
}

bool masters_share_has(const struct masters_share *s, unsigned slot)
{
    return s->of == 0 || (slot >= behind(s, s->number - 1) && slot < behind(s, s->number));
}
