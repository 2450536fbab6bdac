/* The connection of a flow to a Redis or Valkey server, for the files that make it up:
 *
 *   psync_flow.c   the bytes, and acknowledgements
 *   psync_open.c   the handshake, up to where the bytes begin
 *   psync_again.c  a connection that was lost is made again */
#ifndef READER_PSYNC_FLOW_H
#define READER_PSYNC_FLOW_H

#include "../retry.h"
#include "psync_scan.h"
#include "psync_source.h"

#define PSYNC_PIECE ((size_t)4096)

enum psync_state {
    STATE_DOWN, /* there is no connection */
    STATE_AUTH, /* the reply to that is awaited, as of the next two */
    STATE_CAPA,
    STATE_VERSION,
    STATE_ANSWER, /* PSYNC was sent: lines are awaited, that of where it begins ... */
    STATE_FORM,   /* ... and that of how the file comes */
    STATE_SIZED,  /* the file, so many bytes */
    STATE_MARKED, /* the file, up to the token */
    STATE_STREAM,
};

/* Where flow->conn points to. */
struct psync_flow {
    struct conn conn;
    enum psync_state state;
    struct lineage lineage;
    uint64_t file;           /* STATE_SIZED: bytes that are still to come */
    uint8_t tail[TOKEN_LEN]; /* STATE_MARKED: the last bytes */
    size_t ntail;
    bool begun;                /* the file has come, or was not needed: ... */
    struct psync_scan scan;    /* ... the stream, up to the last byte that was handed on */
    uint8_t line[PSYNC_PIECE]; /* what came with the lines, and is not yet read */
    size_t at, have;
    uint64_t heard_at; /* mono_us */
    uint64_t told_at;  /* something was sent */
    uint64_t applied;  /* offset that the target has; only with any */
    bool any;
    bool exact;  /* the source is told all of it, not a byte less */
    bool owes;   /* somebody has asked for an acknowledgement that could not be given yet */
    bool broken; /* sending failed */

    /* psync_again.c */
    bool refused;         /* the source cannot go on there */
    struct retry retry;   /* since it was lost */
    uint64_t back_at;     /* mono_us: it was made again */
    uint64_t back_offset; /* ... and had come so far */
};

/* ---- psync_again.c: decides, and notes ---- */

/* The connection was lost, or a try to make it again has failed. True: there will be a try. False: there will
 * be none, and *why says what ends it. */
bool psync_again(struct flow *f, const struct fault *was, struct fault *why);

/* The stream goes on. replid: as +CONTINUE had it, "": the one before. */
void psync_again_done(struct flow *f, const char *replid);

/* It is up: does that last? */
void psync_again_settle(struct psync_flow *d, uint64_t now);

/* ---- psync_open.c ---- */

/* The stream begins behind offset, with a new command. */
void psync_flow_begin(struct psync_flow *d, uint64_t offset);

/* It cannot be read; because of errno. It is lost, or connected again. */
void psync_flow_fail(struct flow *f, const struct fault *why);
void psync_flow_broke(struct flow *f);

/* In each turn while it is down. */
void psync_flow_retry(struct flow *f, uint64_t now);

#endif
