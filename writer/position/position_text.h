/* The fields of position keys as text: of the single server's (session, f<flow>, a<flow>, l<flow>, s<flow>),
 * of the slots' hashes (f<flow>), and marks. Nothing here knows a connection or the writer; what is printed
 * here is read here. Words behind those that are known belong to later versions and are passed over. */
#ifndef RW_POSITION_TEXT_H
#define RW_POSITION_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/exact.h"
#include "lineage.h"
#include "record.h"

struct buf;
struct redisReply;

#define FLOW_NAME     16
#define POSITION_TEXT 256

enum saved_state {
    SAVED_NONE,       /* nothing is known */
    SAVED_LOST,       /* something was there, and is lost, or this is another target */
    SAVED_INCOMPLETE, /* a full sync was begun, and did not end in every flow */
    SAVED_WHOLE,      /* pos[] holds for every flow */
};

/* Where an earlier session stood. */
struct saved_vector {
    enum saved_state state;
    struct lineage lineage;    /* of the flows that have none of their own */
    char history[HISTORY_MAX]; /* exact.h; "": not of --exactly-once */
    bool began_empty;          /* the full sync that did not end had the target to itself */
    unsigned flows;
    bool verify;                       /* the full sync was not verified to its end */
    uint64_t pos[REC_FLOWS_MAX];       /* next LSN or offset */
    struct lineage own[REC_FLOWS_MAX]; /* replid "": it has none */

    /* From there to pos nothing had an effect, and nothing beyond pos; 0: that is not known. A session may go
     * on there as well: what comes again does nothing. */
    uint64_t quiet[REC_FLOWS_MAX];

    /* The hash slots of the source that the flow holds (holds.h), or the place of a scan, as text; NULL:
     * nothing is said of them. */
    char *slots[REC_FLOWS_MAX];

    /* The last records that were carried out beyond pos; pos 0: none. */
    struct exact_id place[REC_FLOWS_MAX];
};

/* Field "session": whose positions they are. lineage.top may be missing, as in keys of the first version: "".
 */
struct position_id {
    char nonce[40];
    unsigned epoch, flows;
    struct lineage lineage;
};

void position_id_print(const struct position_id *id, char out[POSITION_TEXT]);
bool position_id_parse(struct position_id *id, const char *text);

/* Field f<flow> of the single server's key. */
struct position_flow {
    unsigned flow, epoch;
    uint64_t seq, pos;
    uint64_t quiet; /* below pos: as in saved_vector; 0: not known, and not printed */
};

/* value: POSITION_TEXT bytes. Both return the length. */
size_t position_flow_name(unsigned flow, char out[FLOW_NAME]);
size_t position_flow_print(const struct position_flow *f, char *value);
/* False: it is none of a flow below flows. */
bool position_flow_parse(struct position_flow *f, unsigned flows, const char *name, const char *value);

/* Field l<flow> of it, and of the position file: whose positions those of the flow are, where it has a
 * lineage of its own. value: POSITION_TEXT bytes. Both return the length. */
size_t position_lineage_name(unsigned flow, char out[FLOW_NAME]);
size_t position_lineage_print(const struct lineage *l, char *value);
bool position_lineage_parse(struct lineage *l, const char *value);

/* Field q<flow> of the position file: the flow's quiet position. */
size_t position_quiet_name(unsigned flow, char out[FLOW_NAME]);

/* Field s<flow> of it, and of the position file: the slots; of a source that is scanned, its place there,
 * which begins so, and is a word. */
#define POSITION_SCAN "@"
size_t position_slots_name(unsigned flow, char out[FLOW_NAME]);
bool position_held_ok(const char *text);

/* The texts of it. */
void saved_vector_free(struct saved_vector *v);

/* The whole key, a reply that reply_is_hash() takes for one; *v is set. */
void position_key_read(struct saved_vector *v, const struct redisReply *r);

/* Field f<flow> of a slot's hash, and field a<flow> of the single server's key, whose history is the epoch:
 * letter. */
size_t position_place_name(unsigned flow, char out[FLOW_NAME]); /* a<flow> */
size_t position_place_print(const char *history, const struct exact_id *id, char *value);
bool position_place_parse(struct exact_past *p, char history[HISTORY_MAX], char letter, unsigned flows,
                          const char *name, const char *value);

/* Field "w" of it, the last transaction, has process and token; field "m", a mark, history and number. */
size_t position_pair_print(const char *word, uint64_t number, char *value);
bool position_mark_parse(const char *value, size_t n, char history[HISTORY_MAX], uint64_t *number);

/* The lines of the control socket by which dfreader is told, without their ends: dfrecord(5). */
void position_say(const struct saved_vector *v, unsigned epoch, struct buf *b);
void position_say_flow(const struct saved_vector *v, unsigned flow, struct buf *b);
const char *position_state(enum saved_state s);

#endif
