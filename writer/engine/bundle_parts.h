/* What gather.c (gathering) and the parts of a transaction under way share: bundle.c, bundle_send.c,
 * bundle_replies.c, bundle_faults.c, bundle_lost.c. */
#ifndef RW_BUNDLE_PARTS_H
#define RW_BUNDLE_PARTS_H

#include <sys/queue.h>

#include "bundle.h"
#include "exact.h"
#include "../target/hashset.h"
#include "../target/cluster.h"
#include "splits.h"

#define BUNDLE_MAX   4096u /* records */
#define BUNDLE_BYTES REC_PAYLOAD_MAX
#define WINDOW_MIN   128u /* records under way */
#define SELECT_BYTES 48u  /* of a SELECT before one of another database */
#define LINEAGE_MAX  192u /* of a flow's lineage */

/* What the commands of a transaction are besides its elements. */
#define CMD_POSITION (-1)
#define CMD_SELECT   (-2) /* and below: of database CMD_SELECT - cmd */

/* A command that was refused; the text follows. */
struct fault {
    int32_t cmd;
    uint32_t len;
};

struct element {
    struct rec r;
    struct exact_id id;
    uint64_t mark;   /* its place among the live records of its flow, once that is taken */
    uint32_t off;    /* of the request */
    uint32_t probe;  /* of probes.h; 0: it is none */
    uint32_t ticket; /* of splits.h, of a whole server */
    uint8_t vclass;
    bool out;     /* refused for good, or done by an earlier process: not sent (again) */
    bool already; /* the last of these */
    bool resets;  /* what follows of its key does not depend on what was there before */
    bool odd;     /* it got a reply that it cannot get */
    bool own;     /* not a record's: nothing is counted */
    bool holds;   /* its key is held because of it */
};

struct bundle {
    TAILQ_ENTRY(bundle) link;
    struct bundles *all;
    struct buf req;
    struct element *e;
    unsigned n, cap;
    uint16_t slot;
    const struct unit_calls *calls; /* of its unit */
    uint64_t since;                 /* mono_us */
    uint64_t sent_at;               /* mono_us */
    struct cnode *node;             /* where it is under way; NULL: nowhere */
    unsigned replies;               /* so far */
    int32_t *cmd;                   /* what its commands are: the index of an element, or below */
    unsigned ncmd, cmd_cap;
    unsigned selects;  /* how often another database follows */
    bool strange;      /* that holds a reply which its request cannot get */
    struct buf faults; /* the first one of those queued, or those of EXEC */

    struct plight plight;
    bool single;   /* its requests go one by one, see suspect.h */
    int step;      /* the one in flight, unless it is the last; -1 */
    char lost[96]; /* how its connection was lost */

    bool saves;     /* with the slot's position: it must not be carried out twice */
    bool doubt;     /* it may have been carried out: its token says it */
    uint64_t token; /* 0: none yet */
    struct buf hset;
    size_t more;     /* bytes that the position may take for what flows hold (holds.h) */
    unsigned fields; /* of it, besides w */
    unsigned flows;  /* whose positions may go with it besides those of its records */
    long long added; /* of all, those that the key did not have */
    TAILQ_ENTRY(bundle) ready;
    bool listed;   /* in the list of those that may go */
    unsigned open; /* flows whose last record belongs together with their next one */
    uint64_t held; /* mono_us: it waits for those only; 0: it does not */

    /* of a whole server */
    struct hashset keys; /* of its elements, as far as they can be told */
    bool multikey;       /* and it has others */
    bool barrier;        /* it flushes what all flows stand at */
    bool parts;          /* of the snapshot: its keys are held in those on their way, it has no scope */

    uint8_t tries;
    bundle_fn *fn; /* a step: whoever runs it has the slot */
    void *arg;
    char why[256]; /* its error */
    unsigned why_len;
};

TAILQ_HEAD(bundle_list, bundle);

struct bundles {
    struct bundle_uses use;
    const struct store *store; /* NULL: the slots' hashes */
    void *key;                 /* of it */
    const struct unit_calls *calls;
    struct bundle_list used, spare;
    unsigned nspare;
    struct bundle *of[REC_FLOWS_MAX]; /* where the flow's last record waits for the one that belongs to it */
    unsigned collecting, flying;
    unsigned parts;       /* of those flying, keys of the snapshot */
    struct bundle **at;   /* by slot: what gathers; NULL: nothing ever does */
    unsigned flows;       /* of a whole server: of the session */
    struct bundle *whole; /* of a whole server: the one under way */
    struct bundle_list ready;
    unsigned nready, unseen; /* how many; of these, not looked at since something was added */
    uint64_t looked;         /* mono_us: when they were to be looked at anew */
    unsigned gathered;       /* records that gather */
    size_t bytes;            /* of them */
};

/* A new one, which is in the list of those used. */
struct bundle *bundle_new(struct bundles *b, unsigned slot);

/* One more record, whose request is there already, at off of req; filled in but for its mark. */
struct element *bundle_element(struct bundle *t, const struct rec *r, uint32_t off, uint8_t vclass);

/* The same with its request. */
struct element *bundle_add(struct bundle *t, const struct rec *r, const uint8_t *payload, uint8_t vclass);

/* It must not be carried out twice. */
void bundle_saves(struct bundle *t);

/* The unit that stands for it. */
struct cunit bundle_unit(struct bundle *t);

/* ---- bundle.c ---- */

/* Send it again, not before due. */
void bundle_again(const struct cunit *u, uint64_t due, struct cnode *ask);

/* The first request that is left; t->n: none is. */
unsigned bundle_first_left(const struct bundle *t);

/* Is it of requests of our own, which somebody waits for? */
bool bundle_is_ours(const struct bundle *t);

/* A request of it as a unit of its own, for what is said about it. */
struct cunit bundle_element_unit(const struct element *e);

/* It is under way no more; one of its requests was carried out alone, and the others follow. */
void bundle_back(struct bundle *t);
void bundle_stepped(struct bundle *t);

/* ---- bundle_faults.c ---- */

/* A command was refused; nothing can be done here, or with these rights. */
void bundle_note_fault(struct bundle *t, int32_t cmd, const char *text, size_t len);
void bundle_refuses(const struct bundles *b, const struct cnode *node, const char *text, size_t len);

/* A request of it has failed for good; a request of --on-existing skip or fail found its key. */
void bundle_element_error(struct bundle *t, struct element *e, const char *text, size_t len);
void bundle_is_there(struct bundle *t, struct element *e);

/* Without its position nothing may go on. */
void bundle_no_position(const struct bundle *t, const char *text, size_t len);

/* Requests were refused when they were queued. True: for good, all of them. Else text says otherwise. */
bool bundle_queued_fault(const struct bundle *t, char text[256], size_t *len);

/* Those that were refused are not sent again; what EXEC said about single requests. */
void bundle_take_out(struct bundle *t);
void bundle_carried_out(struct bundle *t, const struct cnode *node);

/* Its first request is named for all of them. NULL: none is left. */
const struct named *bundle_name_first(const struct bundle *t, struct named *what);
void bundle_still_refused(struct bundle *t, const char *text, size_t len);

/* ---- bundle_lost.c ---- */

void bundle_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how);

/* It had been carried out, and (with --wait) has reached the replicas; what stands in its slot. */
void bundle_safe(struct line *l, void *arg, bool ok);
void bundle_learned(struct line *l, void *arg, const redisReply *r);

#endif
