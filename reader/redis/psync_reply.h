/* What a Redis or Valkey master says before its bytes come: INFO, the lines that answer PSYNC. Pure
 * functions. */
#ifndef READER_PSYNC_REPLY_H
#define READER_PSYNC_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lineage.h"
#include "../reply.h"
#include "../sessinfo.h"

#define PSYNC_LINE_MAX 512 /* bytes of a line that answers PSYNC */

enum psync_line {
    PSYNC_MORE,     /* the line is not complete */
    PSYNC_NEWLINE,  /* the master is still at work */
    PSYNC_FULL,     /* +FULLRESYNC: replid and offset, any number */
    PSYNC_CONTINUE, /* +CONTINUE: replid, "" where it is the one that was asked for */
    PSYNC_SIZE,     /* the RDB file has size bytes */
    PSYNC_MARK,     /* it ends with mark */
    PSYNC_ERROR,    /* text: an error reply */
    PSYNC_STRANGE,  /* text: something else, or too long */
};

struct psync_line_value {
    char replid[REPLID_LEN + 1];
    uint64_t offset;
    uint64_t size;
    char mark[TOKEN_LEN + 1];
    char text[ITEM_TEXT];
};

/* The line at p, of which n bytes have come; *used of them are its own (none as long as there are more to
 * come). */
enum psync_line psync_line(const uint8_t *p, size_t n, size_t *used, struct psync_line_value *v);

/* The value of a field of INFO: text up to the end of its line. False: it is not there, or does not fit. */
bool info_field(const char *text, const char *name, char *to, size_t cap);
bool info_number(const char *text, const char *name, uint64_t *n);

/* The databases with keys that INFO keyspace names, at most max of them into db. Returns how many there are.
 */
unsigned info_databases(const char *text, uint32_t *db, unsigned max);

/* What INFO server says of the kind of server: "redis:7.0.15", "valkey:9.1.2", "dragonfly:1.34.2"; "": it
 * says nothing of that. */
void info_version(const char *text, char *to, size_t cap);

/* Is this a server that has to be told what we can read ("REPLCONF version")? Valkey from 9 on, and one that
 * does not say what it is; others take no harm. */
bool psync_wants_version(const char *version);

/* May it have several databases though it belongs to a cluster? */
bool cluster_has_databases(const char *version);

/* An error reply, as a master, or the network before it, gives it to a client that wants to replicate: what
 * it means, and whether a retry may help. */
void psync_refused(struct fault *f, const char *command, const char *text);

#endif
