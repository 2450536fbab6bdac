/* The file FILE.sent of sent.h, as it lies in memory: mapped, so without a checksum. Numbers are the
 * machine's own: on another one it says nothing. */
#ifndef RW_SENT_FILE_H
#define RW_SENT_FILE_H

#include <stddef.h>
#include <stdint.h>

#define SENT_ID 48 /* nonce and epoch of a session, as text */

struct sent_flow {
    uint64_t pos;   /* highest position of a record that was handed over */
    uint64_t vague; /* not 0: records without a position were as well */
};

struct sent_file {
    char magic[24];
    char boot[40];        /* the machine's boot id */
    char id[SENT_ID];     /* session */
    char before[SENT_ID]; /* the one that it goes on from */
    uint64_t flows;
    uint64_t named; /* by runs that have not come to their end, and so have not reported it */
    struct sent_flow flow[];
};

size_t sent_file_size(unsigned flows);

/* A new one for a session and the flows that start at 0. The caller frees it. */
struct sent_file *sent_file_new(const char *boot, const char *id, unsigned flows);

/* Why n bytes that were read into old (room for as many flows as now has) say nothing of what was sent behind
 * the positions of session from: one word; NULL: they do. */
const char *sent_file_unfit(const struct sent_file *old, size_t n, const struct sent_file *now,
                            const char *from);

#endif
