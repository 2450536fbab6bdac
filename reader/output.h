/* Where the raw records go. A write never blocks: what a pipe or socket does not take waits in a queue, in
 * memory and beyond that in an unlinked file. Regular files are written plainly. */
#ifndef READER_OUTPUT_H
#define READER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "options.h"
#include "record.h"
#include "spool.h"

/* Payload of a DATA record: with its header it fills whole pages of a pipe. */
#define DATA_MAX (((size_t)64 << 10) - REC_HEADER)

struct output {
    struct loop *loop;
    struct watch w;      /* fd -1: always takes everything */
    int fd;              /* -1: there is no output */
    int fl_before;       /* file status flags to be restored; -1: unchanged */
    bool dead;           /* nothing more can be written: error says why */
    bool lost;           /* ... and something that should have been */
    bool waiting;        /* epoll looks for room */
    bool slow;           /* the spool has been full and its disk is not yet empty again */
    bool read_on;        /* never full: the source must not be slowed down now */
    uint64_t well_since; /* mono_us: when that was so after it had been full; 0: never full */
    int error;
    int spill_error; /* errno: a DATA record was dropped because the queue could not take it; END still goes
                      */
    size_t limit;
    struct spool q;
    uint8_t *scratch; /* header and payload of a DATA record */
    uint64_t bytes;   /* DATA payload so far */
    uint64_t written; /* to the descriptor */
    uint64_t records;
};

/* Open what o->output names. Returns an exit status: 0, or another one after a message; out is as after
 * output_none then. */
int output_open(struct output *out, struct loop *loop, const struct options *o);

/* An output that takes nothing, for a process without a stream: all calls are allowed and do nothing. */
void output_none(struct output *out);

/* The end of the stream, so that its reader sees the end of file. Flags of the descriptor are restored; what
 * is still queued is lost. output_room stays usable until output_free. May be called twice. */
void output_close(struct output *out);
void output_free(struct output *out);

/* Room for the payload of the next DATA record: DATA_MAX bytes. */
static inline uint8_t *output_room(struct output *out)
{
    return out->scratch + REC_HEADER;
}

/* Send or queue a record whose r.len bytes of payload lie in output_room. Returns 0, or -1: see output_fault.
 */
int output_put(struct output *out, struct rec r);

/* The same for whole records that are encoded already. */
int output_records(struct output *out, const uint8_t *p, size_t n, unsigned records);

/* The same as DATA of n bytes: pos is their offset in the flow. */
int output_data(struct output *out, unsigned flow, uint16_t epoch, uint64_t pos, size_t n);

/* Metadata: a stream header; a SESSION, FLOW or END record with a text payload. */
int output_stream(struct output *out);
int output_meta(struct output *out, enum rec_type type, unsigned flow, uint16_t epoch,
                const struct buf *text);

/* The flows must not be read now. That the spool is full is said when that begins, and not again before it
 * has been well for a minute. */
bool output_full(struct output *out);

/* For the status: the spool is full, or has been within the last seconds. */
bool output_spool_full(const struct output *out);

static inline bool output_flushed(const struct output *out)
{
    return out->dead || spool_len(&out->q) == 0;
}

/* The output is a pipe or a socket: somebody reads it now. */
static inline bool output_is_channel(const struct output *out)
{
    return out->w.fd >= 0;
}

/* Its reader has taken something. */
bool output_taken(const struct output *out);

/* The next stage has not yet taken everything that was written: it is behind, not the source. */
bool output_behind(const struct output *out);

/* Why the output is dead, or why a record was dropped, and the exit status of that. */
const char *output_fault(const struct output *out, int *status);

/* The same, said in the log: an error, unless it follows from the failure of another stage. */
const char *output_report(const struct output *out, int flow, int *status);

#endif
