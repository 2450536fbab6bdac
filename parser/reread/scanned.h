/* KEY and SCAN records of a source that is scanned (dfrecord(5)). Until the flow was scanned once, keys are
 * those of a snapshot; keys that were read because they had changed are live, as all are behind that. */
#ifndef DFP_SCANNED_H
#define DFP_SCANNED_H

#include "../change.h"
#include "../command/request.h"
#include "../snapshot/carry.h"
#include "../snapshot/repeats.h"
#include "held_key.h"

enum scanned_form {
    SCANNED_NONE,     /* between two keys */
    SCANNED_MISSING,  /* the source does not have it, or could not say */
    SCANNED_DUMP,     /* what DUMP said */
    SCANNED_ELEMENTS, /* of a value, without their number */
    SCANNED_COMMANDS, /* that make it */
};

struct scanned {
    struct sink *to;
    enum scanned_form form;
    bool live, fresh; /* fresh: the commands make the key from nothing */
    bool begun, over; /* the value was begun, and has come to its end */
    bool refused;     /* they are left out, as what the target has is to be kept */
    bool known;       /* what the name says was looked at */
    bool repeated;    /* the value, and what follows it, came before */
    unsigned type;
    uint32_t db;
    uint64_t name_len, length;
    uint64_t expire_ms; /* 0: none */
    uint64_t time;
    struct change change;
    struct buf name;
    struct carry carry; /* bytes that are not used yet */
    struct requests requests;
    struct held_key held;  /* for an outlet */
    struct repeats before; /* keys that came, where those that the target has are kept */
    char error[160];
};

void scanned_free(struct scanned *s);

/* The flow begins. version: that of the session ("dragonfly:1.40.1"). */
void scanned_begin(struct scanned *s, const char *version, uint64_t position);

/* A record. They return NULL, or what is wrong with it. */
const char *scanned_key(struct scanned *s, const struct rec *r, const uint8_t *payload);
const char *scanned_place(struct scanned *s, const uint8_t *payload, size_t n);

#endif
