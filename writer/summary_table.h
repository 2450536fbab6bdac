/* The summary for people: what counts first. */
#ifndef RW_SUMMARY_TABLE_H
#define RW_SUMMARY_TABLE_H

#include "buf.h"
#include "summary.h"

/* Append the table of a run of that many seconds that ends with status. */
void summary_table(const struct stats *s, int status, double seconds, struct buf *b);

#endif
