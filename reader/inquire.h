/* A connection that is asked one thing after the other, and waited for: before a session is opened. */
#ifndef READER_INQUIRE_H
#define READER_INQUIRE_H

#include "conn.h"
#include "loop.h"

struct inquiry {
    struct loop loop;
    struct conn conn;
    int timeout_ms; /* for each answer */
    bool broken;
};

/* Connect to u->seed[0] and, where u has a password, authenticate. Returns 0 (inquiry_close), or -1 with f.
 */
int inquire_open(struct inquiry *q, const struct url *u, int timeout_ms, struct fault *f);
void inquire_close(struct inquiry *q);

/* The answer is in q->conn.reply, or where conn_keep_objects was called in q->conn.object. Returns 0, or -1
 * with f. An error reply is an answer. */
int inquire(struct inquiry *q, int n, const char *const *args, struct fault *f);

#endif
