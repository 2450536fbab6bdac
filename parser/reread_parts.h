/* What reread.c (keys, answers) and reread_entries.c (entries of such keys) share. */
#ifndef DFP_REREAD_PARTS_H
#define DFP_REREAD_PARTS_H

#include "reread.h"

struct rekey *rekey_find(const struct flow *f, uint32_t db, const void *key, size_t n);
void rekey_free(struct rekey *k);

/* The flow's hold and due follow from its keys: after every change. */
void rekeys_changed(struct flow *f);

/* Only what the source says behind the entry at hand counts: what was kept is contained in that. */
void rekey_at_least(struct flow *f, struct rekey *k);

/* The entry at hand may be contained in the answer, or not: ask again. */
void rekey_ambiguous(struct flow *f, struct emit *e, struct rekey *k);

/* Report it, go on with what was kept. Frees it. */
void rekey_give_up(struct flow *f, struct emit *e, struct rekey *k, const char *why);

/* ---- entries that are kept back ---- */

void rekey_drop_kept(struct rereads *r, struct rekey *k);

/* Keep an entry. False: there is no room. */
bool kept_add(struct flow *f, struct rekey *k, uint64_t txid, const struct slice *argv, size_t argc);

/* Is one kept whose LSN is at least from and below to? */
bool kept_between(const struct rekey *k, uint64_t from, uint64_t to);
void kept_drop_below(struct rereads *r, struct rekey *k, uint64_t lsn);

/* Write those from an LSN on; the key is no longer under way. held: what is reached before the last of them.
 */
void kept_write(struct flow *f, struct emit *e, struct rekey *k, uint64_t from, uint64_t held);

#endif
