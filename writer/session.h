/* The session whose records are applied: its flows, its epochs, and what has to be right before the first
 * request and after the last. dfrecord(5) SESSION, FLOW; df2redis(7), Order and positions. */
#ifndef RW_SESSION_H
#define RW_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/collect.h"
#include "lineage.h"
#include "masters_share.h"
#include "engine/put.h"
#include "position/position_text.h"
#include "record.h"

struct writer;
struct input;

enum stage {
    ST_NONE,  /* no session yet */
    ST_FLOWS, /* some flow has not sent its FLOW record */
    ST_RUN,   /* requests are applied */
    ST_VOID,  /* a flush before the cut: waiting for the next epoch */
};

struct flow {
    bool up;    /* FLOW seen in this epoch */
    bool ended; /* END seen on its input */
    bool more;  /* within a request of several records */
    unsigned input;
    uint64_t last_seq;  /* of the last record that came */
    uint64_t last_pos;  /* the highest so far */
    struct lineage own; /* whose positions it has; replid "": the session's */
    struct big *big;    /* being collected, or complete and waiting to go */
    bool big_whole;
};

struct session {
    enum stage stage;
    char nonce[33];
    unsigned epoch;
    unsigned flows;
    unsigned up;
    unsigned going_on; /* flows of mode PARTIAL */
    bool repeats;      /* the full sync before had an empty target and broke: another one instead of it */
    bool unverified;   /* the run that it goes on from has not verified its full sync to the end */
    char refused[32];  /* why this session begins anew instead of going on; "" no such thing */
    bool journal;
    struct masters_share share; /* of a cluster source: what the target has in other slots is others' */
    bool scans;                 /* keys come by SCAN: positions count from the beginning */
    bool live;                  /* the control socket is (or was) connected */
    bool left;                  /* it is none now, but began a moment ago */
    bool died;                  /* it was, but its dfreader was killed before we reached it */
    char source[16];
    char address[280];            /* of the source; "-" not known */
    char run_id[64];              /* of its process, "": not known */
    struct lineage lineage;       /* of the flows that have none of their own; what is not known is "-" */
    char identity[POSITION_TEXT]; /* value of field "session" in the position key */
    char position_key[96];
    struct flow *flow;
    bool claimed;          /* claim.h: what it has to be before anything is changed */
    bool wrote;            /* the target was changed since the session (any epoch) began */
    bool partial_ok;       /* offline, and some flows come later in the same input */
    struct buf void_flush; /* the request of a flush before the cut; runs when the new epoch begins */
    uint32_t void_db;
};

void session_free(struct session *s);

/* A SESSION record. PUT_WAIT: the session before has not ended yet. */
enum put session_record(struct writer *w, struct input *in);

/* A FLOW record. */
enum put session_flow(struct writer *w, struct input *in);

/* The stream of an input ended: so did its flows. */
void session_input_ended(struct writer *w, unsigned input);

/* All flows are up: apply --on-existing and the like, then let requests through. PUT_WAIT: something of the
 * epoch before is still in flight. */
enum put session_start(struct writer *w);

/* A BARRIER before its flow's cut. */
enum put session_void(struct writer *w, const struct rec *r, const uint8_t *payload);

/* After the last record: what is missing or waits for ever? Fails the writer accordingly. */
void session_check_end(struct writer *w, bool stopped);

#endif
