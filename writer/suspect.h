/* A request at which the target closes the connection, or which it never answers. Which of many it is shows when they
 * go one by one: from the second loss in a row on. After the third it is a data error, and is not sent again. */
#ifndef RW_SUSPECT_H
#define RW_SUSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;
struct writer;

#define SUSPECT_AFTER 2u /* losses in a row: from then on one by one */
#define SUSPECT_LOST  3u /* losses in a row, */
#define SUSPECT_ALONE 2u /* of these, with nothing else in flight: it is the request */
#define SUSPECT_ROW   8u /* requests found so with nothing confirmed between: it is the target */

/* What the data error says; why: how the connection was lost. */
#define SUSPECT_TEXT "ERR the connection is lost whenever this request is sent"
const char *suspect_text(const char *why);
bool suspect_is(const char *text, size_t len);

/* One more request was given up. False: so many in a row that it is the target, and the writer has failed. */
bool suspect_found(struct writer *w, unsigned *row);

/* ---- of a single server ---- */

/* The connection is lost: what was in flight may be the reason. */
void suspect_lost(struct node *n);

/* Is something in flight that could be the reason? */
bool suspect_in_flight(const struct node *n);

/* Bytes of the ring that may be sent now: all, or those of the first unit. */
size_t suspect_sendable(const struct node *n);

/* The first unit was answered. */
void suspect_cleared(struct node *n);

/* It is connected again: the request that is found to be the reason becomes a data error. */
void suspect_judge(struct node *n);

#endif
