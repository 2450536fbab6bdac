/* The commands that a Redis or Valkey sends behind its snapshot, or from a position on: psync(7), THE COMMAND
 * STREAM. Bytes in, changes out. */
#ifndef DFP_PSYNC_STREAM_H
#define DFP_PSYNC_STREAM_H

#include "../change.h"
#include "request.h"

/* Nothing of a transaction is given on before its EXEC is there, unless it is larger than this: a master that
 * dies while it sends one may be succeeded by another that never had it. What waits lies in a file (carry.h).
 */
#define TRANSACTION_WHOLE ((size_t)64 << 20)

/* What becomes of a command that stands in a file. */
enum verdict {
    VERDICT_TAKE,
    VERDICT_PASS,    /* it changes nothing */
    VERDICT_DAMAGED, /* no server loads a file with it */
    VERDICT_CANNOT,  /* no server that is known here */
};

/* What is different where the commands stand in a file (aof.h). */
struct psync_file {
    void *ctx;

    /* What may stand in front of a command is passed over. BAD: c stands where it is wrong, or it is over. */
    enum got (*between)(void *ctx, struct cur *c);

    /* *why for the latter two. */
    enum verdict (*judge)(void *ctx, const struct slice *argv, size_t argc, const char **why);
};

struct psync {
    struct sink *to;
    uint32_t db; /* selected; of the source */
    struct requests in;
    const struct psync_file
        *file;            /* a file, from which nobody goes on: positions need not hold databases, and
                             transactions are given on when they are whole; NULL: it is a stream */
    const uint8_t *begun; /* where the command begins that was looked at last */
    enum verdict verdict; /* of it */
    uint8_t name[64];     /* of the command, in upper case */
    uint64_t multi;       /* the position in front of the MULTI of the transaction that is open; 0: none is */
    struct requests look; /* for its EXEC */
    size_t looked;        /* bytes of it, from its MULTI on, that were looked at in vain */
    struct requests inner; /* what a KeyDB has wrapped up */
    const char *cannot;    /* what no position can hold has come; NULL: nothing */
};

/* Begin at this position. */
void psync_begin(struct psync *s, struct sink *to, uint64_t position);

/* One command at c. */
enum got psync_command(struct psync *s, struct cur *c);

/* What the snapshot says of the database that is selected behind it. A number that no position can hold is as
 * good as none: a command of its own has to select that. */
void psync_select(struct psync *s, uint64_t db);

void psync_free(struct psync *s);

#endif
