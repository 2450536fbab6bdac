/* What was counted, as text, JSON and CSV. */
#ifndef DFP_INSPECT_TALLY_SHOW_H
#define DFP_INSPECT_TALLY_SHOW_H

#include "tally.h"

/* All of it, in t->form. The largest keys are sorted. */
void inspect_show(struct tally *t, bool complete);

/* CSV: the names of the columns; one key. */
void inspect_csv_head(struct tally *t);
void inspect_csv_line(struct tally *t, const struct measured *m);

#endif
