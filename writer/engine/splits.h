/* Keys of the snapshot that come in several requests, and what --on-existing skip and fail need to know of
 * them: the first request of such a key only asks whether it is there, so the others wait for its reply, and
 * are dropped where the key was there. dfrecord(5), TARGET. */
#ifndef RW_SPLITS_H
#define RW_SPLITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

#define SPLITS_MAX 16384u /* at once; the parsers have a few of each flow */

enum split_state {
    SPLIT_ASKED,  /* the reply to the first request is awaited */
    SPLIT_OPEN,   /* the others may go */
    SPLIT_THERE,  /* the key was there: the others are dropped */
    SPLIT_FAILED, /* the first request failed, so the others do */
};

/* A key of which the first part came, and the last did not yet. */
struct split {
    uint32_t key; /* hashset_key */
    uint32_t id;  /* ticket of its first request */
    uint16_t flow;
    uint8_t state;
    bool more;     /* a request behind the first was taken */
    uint8_t *name; /* the key itself, where a mistake would matter; NULL: not kept */
    size_t len;
};

struct failures;
struct options;
struct outcome;
struct stats;

struct splits {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    struct failures *failures;
    struct split *v;
    unsigned n, cap;
    uint32_t last_id;
    uint32_t ticket; /* of the record being put */
};

/* What a request of the snapshot is to --on-existing skip and fail; else it is the id of a split, whose first
 * request it is. */
enum { TICKET_NONE, TICKET_WHOLE, TICKET_BEHIND /* a first one that failed */, TICKET_FIRST };

void splits_free(struct splits *s);

/* Is a key of which this may be a part begun, and not complete? */
bool splits_open(const struct splits *s, const struct rec *r);

/* Is this the third request of such a key, or a later one? */
bool splits_third(const struct splits *s, const struct rec *r);

/* Is this the first request of a key, and removes what was there (DEL)? What follows may then be repeated
 * with it. */
bool splits_resets(const struct rec *r, const uint8_t *request);

/* Is a request one of the same key as such a first one, of n bytes? A hash may be that of two keys. */
bool splits_same_key(const uint8_t *first, size_t n, const struct rec *r, const uint8_t *request);

/* Class under which this request counts as a key; 0: it does not. Most are whole keys, while none is begun.
 */
uint8_t splits_class_of(const struct splits *s, const struct rec *r);
static inline uint8_t splits_class(const struct splits *s, const struct rec *r)
{
    bool whole = (r->flags & (RF_LIVE | RF_FIRST | RF_LAST)) == 0 && s->n == 0;
    return whole ? r->vclass : splits_class_of(s, r);
}

/* A record of the snapshot was taken: it may be the first or the last of a key. request: its bytes (of a
 * POSITION: NULL). */
void splits_took(struct splits *s, const struct rec *r, const uint8_t *request, size_t n);

/* The same of any record. Most are whole keys, while none is begun. */
static inline void splits_note(struct splits *s, const struct rec *r, const uint8_t *request, size_t n)
{
    if ((r->flags & RF_LIVE) == 0 && (s->n > 0 || (r->flags & RF_FIRST) != 0))
        splits_took(s, r, request, n);
}

/* ---- --on-existing skip and fail ---- */

enum guard {
    GUARD_SEND,  /* it goes its way; splits.ticket is set */
    GUARD_WAIT,  /* until the first request of its key is answered */
    GUARD_DROP,  /* the key was there */
    GUARD_FAIL,  /* the first request of its key failed */
    GUARD_WRONG, /* *wrong: no such record may come */
};

/* May this request of the snapshot go? n: as many bytes as are there. */
enum guard guard_look(struct splits *s, const struct rec *r, const uint8_t *request, size_t n,
                      const char **wrong);

/* The reply to a request that went with this ticket. */
void guard_reply(struct splits *s, uint32_t ticket, enum split_state state);

/* A request was sent again, or its reply is lost: nobody can say whether the key was there before, or is ours
 * from the first time. Counted among what may be doubtful. */
void guard_unsure(struct splits *s, unsigned flow, const uint8_t *request, size_t n, unsigned keyarg);

/* A key was there: counted and named; with --on-existing fail that is the end. */
void guard_there(struct splits *s, const struct rec *r, const uint8_t *request, size_t n);

#endif
