/* A share of a cluster source: --masters I/N is the I-th of N equal ranges of hash slots, and every master
 * that has slots of it is read. dfreader(1); field masters of SESSION records, dfrecord(5). */
#ifndef DF_MASTERS_SHARE_H
#define DF_MASTERS_SHARE_H

#include <stdbool.h>

#include "slotset.h"

#define MASTERS_SHARES     1024u /* at most */
#define MASTERS_SHARE_TEXT 12u   /* bytes of its text at most, with its NUL */

/* number counts from 1; of 0: all slots, there are no shares. */
struct masters_share {
    unsigned number, of;
};

/* "2/3". False: it is none; *s is all slots then. */
bool masters_share_parse(struct masters_share *s, const char *text);
void masters_share_print(const struct masters_share *s, char out[MASTERS_SHARE_TEXT]);

void masters_share_slots(const struct masters_share *s, struct slotset *slots);

/* Does the share have the slot? */
bool masters_share_has(const struct masters_share *s, unsigned slot);

#endif
