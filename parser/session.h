/* What dfparse does with the records of its input: sessions, flows, the control socket, the end. */
#ifndef DFP_SESSION_H
#define DFP_SESSION_H

#include "ctl.h"
#include "command/source_commands.h"
#include "flow.h"
#include "options.h"
#include "reread/reread.h"

/* What --expand needs: expand.c. */
struct expand {
    struct scratch scratch;
    struct value value;
    bool more;                   /* the record before has its rest in the next */
    uint64_t seq[REC_FLOWS_MAX]; /* last numbers written */
};

/* What was said of the counters; µs that the input was waited for. */
struct counted {
    uint64_t said_at, said, input;
};

struct parser {
    const struct options *opt;
    struct emit e;
    struct flow *flows[REC_FLOWS_MAX]; /* NULL: not begun */
    bool told_cut[REC_FLOWS_MAX], told_synced[REC_FLOWS_MAX];
    bool begun;     /* there was a session */
    bool in_stream; /* a stream is being written: its END is still to come */
    bool was_live;  /* its dfreader answered on the control socket, or had just been killed */
    char nonce[40];
    uint16_t epoch;
    char snapshot_id[40]; /* of the files of this session */
    unsigned nflows;
    bool journal, file;
    bool redis;       /* the source is a Redis, Valkey or KeyDB */
    bool scan;        /* it is scanned */
    bool later_share; /* of a cluster, and not the first */
    char version[48];
    bool target_written;
    struct ctl ctl;
    struct rereads rereads;
    struct source_commands commands; /* of a Redis */
    struct export *export;           /* --rdb: the file; NULL: none */
    struct inspect *inspect;         /* --inspect; NULL: none */
    struct outlet *outlet;           /* keys go there; NULL: to e */
    struct expand expand;
    struct counted counted;
    int status;      /* worst so far */
    bool partial;    /* the input's END says that flows may end within an item */
    char reason[16]; /* of the END record to come */
    char message[256];
};

void parser_init(struct parser *p, const struct options *opt, int out);
void parser_free(struct parser *p);

/* Take one record of a raw stream. Returns 0, or -1 when nothing after it may be used: status, reason and
 * message are set. */
int parser_record(struct parser *p, const struct rec *r, const uint8_t *payload);

/* Another stream of commands follows: end the one being written, begin the next. Returns like parser_record.
 */
int parser_next_stream(struct parser *p);

/* What came over the control socket. */
void parser_control(struct parser *p);

/* Something is under way that must be looked after once a second. */
static inline bool parser_waits(const struct parser *p)
{
    return p->rereads.count + p->rereads.checks > 0;
}

/* ---- expand.c, show.c: command streams as input ---- */

/* --expand: take one record; RESTORE becomes commands, for a target that refuses it. Returns like
 * parser_record. */
int expand_record(struct parser *p, const struct rec *r, const uint8_t *payload);

/* Does the output chosen take command streams? They are not parsed, only shown by --json and --resp. */
bool show_takes(const struct parser *p);

/* Show one record. Returns like parser_record. */
int show_record(struct parser *p, const struct rec *r, const uint8_t *payload);

/* ---- outlets.c: keys that do not become requests ---- */

/* A session begins: so does its file. live: changes follow its keys. Returns like parser_record. */
int outlets_begin(struct parser *p, bool live);

/* All input was read: what came of it is complete, or nothing is left of it. */
void outlets_end(struct parser *p);

void outlets_free(struct parser *p);

/* ---- for parser.c and session.c ---- */

/* The number of flows of a command stream, from its SESSION record. Returns like parser_record. */
int parser_flows(struct parser *p, const struct rec *r, const uint8_t *payload);

/* The session's flows end: another one begins. */
void parser_drop_flows(struct parser *p);

/* The flow of a record, which is what. NULL: *rc is -1, and that was said, or 0: it is of a session that was
 * given up. */
struct flow *parser_flow(struct parser *p, const struct rec *r, const char *what, int *rc);

/* A KEY record. Returns like parser_record. */
int parser_key(struct parser *p, const struct rec *r, const uint8_t *payload);

/* A SCAN record, likewise. */
int parser_scan(struct parser *p, const struct rec *r, const uint8_t *payload);

/* A CHECK record, likewise. */
int parser_check(struct parser *p, const struct rec *r, const uint8_t *payload);

/* A FILE record, likewise. */
int parser_file(struct parser *p, const struct rec *r, const uint8_t *payload);

/* A SLOTS record, likewise. */
int parser_slots(struct parser *p, const struct rec *r, const uint8_t *payload);

/* Ask for keys that can be asked for now, give up others, tell dfreader how far the flows are. */
void parser_poll(struct parser *p);

/* What was not answered by now is reported. */
void parser_end_rereads(struct parser *p);

/* A flow is damaged, or cannot be taken: said, and kept for END. Returns -1. */
int parser_flow_fault(struct parser *p, unsigned flow, int status, const char *what);

/* Tell dfreader how far the flow is; what it misses now it is told again with the next bytes. */
void parser_tell(struct parser *p, const struct flow *f);

/* Parsing has to end (emit.refused): said. Returns -1. */
int parser_refused(struct parser *p);

/* The input was cut short or damaged. what: for the message. */
void parser_fault(struct parser *p, int status, const char *reason, const char *what);

/* All input was read: check that every flow ended where it may, write the END record, flush. Returns the exit
 * status. */
int parser_end(struct parser *p);

#endif
