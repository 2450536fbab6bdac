/* One flow over a socket of this process: DFLY FLOW, bytes to DATA records, acknowledgements. The owner of a
 * session has one a shard (or leaves them to other processes), a flow process has one. dragonfly-wire.md
 * sections 2.2, 6.2. */
#ifndef READER_FLOW_H
#define READER_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "handshake.h"
#include "link.h"
#include "output.h"
#include "sessinfo.h"

enum flow_state {
    FLOW_DOWN,  /* no connection */
    FLOW_AUTH,  /* AUTH sent */
    FLOW_ASKED, /* DFLY FLOW sent */
    FLOW_UP,    /* raw bytes */
    FLOW_LOST,  /* broken; told to the observer */
};

/* How the bytes of a flow come: after a FULL answer; after PARTIAL journal entries at once, or, from masters
 * v1.31 to v1.34, in the form of a full sync without keys. Spec section 2.5. */
enum flow_form { FORM_FULL, FORM_JOURNAL, FORM_SNAPSHOT };

/* Where a flow is to go on. */
struct flow_ask {
    uint64_t lsn;       /* its next LSN, 0: from the beginning */
    const char *last;   /* LSNs are those of this earlier master, NULL: of this one ... */
    const char *vector; /* ... and these those of all flows, joined by '-' */
};

struct flow;

/* Who is told what happens to a flow. Called from the event loop and from flow_start. */
struct flow_observer {
    void *ctx;
    void (*up)(void *ctx, struct flow *f);
    void (*lost)(void *ctx, struct flow *f, const struct fault *why);
    /* The first bytes of a partial flow are there before it was announced: it has to be now, as FORM_JOURNAL.
     */
    void (*bytes)(void *ctx, struct flow *f);
};

struct flow {
    unsigned id;
    enum flow_state state;
    struct link link;
    const struct url *url;
    const struct sessinfo *info;
    const struct flow_observer *observer;
    struct flow_ask ask; /* texts stay the caller's */
    bool partial;        /* the master goes on at ask.lsn */
    bool announced;      /* its FLOW record is written */
    bool refused;        /* lost since the master answered a question with ask.lsn by an error */
    char token[TOKEN_LEN + 1];
    uint64_t bytes;    /* of this epoch, after the FLOW reply */
    uint64_t moved_at; /* mono_us of the last bytes */
    uint64_t applied;  /* position to be acknowledged, 0 none */
    uint64_t acked;    /* position last sent */
    uint64_t acked_at;
};

/* Open the connection and ask for the flow. The observer is told the outcome, maybe before this returns. f
 * must be zeroed or in state FLOW_DOWN; id is set. question: NULL for a full sync. like: a link to the same
 * master, which is then not waited for; NULL: connect by the URL, at most timeout_ms. */
void flow_start(struct flow *f, unsigned id, struct loop *loop, const struct url *url,
                const struct link *like, const struct sessinfo *info, const struct flow_ask *question,
                int timeout_ms, const struct flow_observer *observer);
void flow_stop(struct flow *f);

/* The FLOW record, once. Call it when the flow is up, with FORM_FULL before any flow_read. */
int flow_announce(struct flow *f, struct output *out, enum flow_form form);

/* There may be bytes to read. */
static inline bool flow_readable(const struct flow *f)
{
    return f->state == FLOW_UP && f->link.readable && (f->announced || f->partial);
}

/* Read once into one DATA record, or into nothing with discard. Returns false when out failed. */
bool flow_read(struct flow *f, struct output *out, bool discard);

/* Send "REPLCONF ACK applied" when that is new and the last one is a second old, or now. */
void flow_ack(struct flow *f, uint64_t now, bool at_once);

/* Tell the master that nothing more will be sent; what it sent may still be read. */
void flow_shutdown(struct flow *f);

#endif
