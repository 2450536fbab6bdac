/* Changes: what every decoder produces, and where the changes of a flow go.
 *
 * A change is a key of a snapshot with its value, or a command. Decoders (rdb.h: snapshots; journal.h,
 * psync_stream.h, aof.h; answers.c: keys that were read again) know the bytes of the source, and of the
 * target only whether it accepts what accompanies keys (hints, functions). The code called by change_key and
 * change_command knows the target, and of the source only its dialect (dialect.h).
 *
 * Bytes that a change points to belong to the decoder and stay as they are until the call returns; what is
 * needed longer is copied. A value is no part of the change, as it may be of any size: it is taken from the
 * bytes that are there, and the rest of it as it comes. */
#ifndef DFP_CHANGE_H
#define DFP_CHANGE_H

#include "command/dialect.h"
#include "emit.h"
#include "ours.h"
#include "filter.h"
#include "outlet.h"
#include "value/value.h"

struct change {
    uint32_t db; /* of the source */

    /* A key. */
    struct key key;
    unsigned type; /* of its value (value_type) */
    bool prefixed; /* any of the following is set; change_clear unsets them */
    bool sticky;   /* and the target is a Dragonfly, too */
    bool meta;     /* modules keep metadata of it */
    struct hint hint;
    uint64_t expire_ms;                    /* 0: none */
    const struct hash_template *templates; /* that its value may refer to */
    uint64_t at;                           /* where in the flow it stands; AT_UNKNOWN */

    /* A command. */
    const struct slice *argv;
    size_t argc;
    uint64_t txid;  /* of its transaction; 0: none */
    uint64_t lsn;   /* its position: that in front of it */
    uint64_t after; /* the position that is reached, and may be confirmed, when it is applied */
    uint64_t time;  /* of its arrival, microseconds: relative times count from it */
};

/* No prefix stands in front of the next key. */
static inline void change_clear(struct change *c)
{
    c->prefixed = c->sticky = c->meta = false;
    c->hint.kind = HINT_NONE;
    c->expire_ms = 0;
}

struct rereads;
struct holding;
struct slots;
struct command;

/* Commands that came lately, by their names of at most eight bytes: most of a flow are of few kinds. */
#define LATELY 64u
struct lately {
    uint64_t name;
    size_t n;
    const struct command *c;
};

/* The largest position that a source may name: it is counted on from there, and UINT64_MAX means none. */
#define LSN_MAX ((uint64_t)INT64_MAX)

/* Are keys of the flow's full sync looked for at the target? VERIFYING_ENDS: all were found; those that
 * commands had to do without on the way here are still to be read again. VERIFYING_CLOSES: of these, too, no
 * more are looked for. */
enum verifying { NOT_VERIFYING, VERIFYING, VERIFYING_ENDS, VERIFYING_CLOSES };

/* Keys whose place has not come, from at on. */
struct checks {
    struct buf waiting;
    size_t at;
    uint64_t due;    /* LSN at which the first of them is looked for; UINT64_MAX: there is none */
    struct buf name; /* scratch: what the target calls one */
};

/* Where the changes of one flow go. */
struct sink {
    struct emit *e;
    struct outlet *outlet; /* keys go there, and nothing becomes a request; NULL: to e */
    struct origin o;
    struct dialect dialect;
    unsigned flows;                       /* of the session */
    bool own_master;                      /* which no other flow has: its flushes concern this flow alone */
    const struct source_commands *source; /* what a Redis says of its commands; NULL: it is none */

    /* How far the flow is. */
    bool cut, synced;
    bool goes_on;      /* a partial sync: the target has everything before, and no keys come */
    bool counting;     /* next_lsn is known */
    bool in_multi;     /* a transaction waits for its EXEC: nothing behind its begin may be confirmed */
    uint64_t multi_at; /* ... and its begin is this position; 0: that is not known */
    uint64_t next_lsn;
    uint64_t before; /* the position in front of the entry being written, or written last */

    /* Which keys go through, and under which names. */
    const struct filter *filter; /* NULL: every key as it is */
    struct renamed renamed;

    /* Values and commands being written. */
    bool in_value;         /* more of value is to come: change_more */
    bool gone;             /* nothing was written of the value of the last key */
    struct value value;    /* of the last key that was written as commands */
    struct value restored; /* of a RESTORE */
    struct scratch s;
    struct buf program; /* of a command over several slots */
    struct buf guarded; /* arguments and script of a command that needs its key (check.h) */
    bool told_hint, told_slots;

    struct lately lately[LATELY];
    struct { /* the key of the last DEL of one key */
        uint64_t txid, lsn;
        uint32_t hash;
    } emptied;

    /* Keys that are read again (reread.h). */
    struct rereads *rereads; /* NULL: keys cannot be read again */
    uint64_t hold;           /* no position behind this LSN may be confirmed; UINT64_MAX: none */
    uint64_t left_at;        /* ... because of keys that were left to the run that resumes */
    uint64_t due;            /* LSN at which the next answer is written; UINT64_MAX: none */
    struct buf answer;       /* KEY records, up to the last of an answer */
    bool answer_lost;        /* some of them were too much to keep */

    /* Of a flow of a cluster: which slots it holds (slots.h, holding.h). NULL: it writes all keys. */
    struct slots *slots;
    struct holding *holding;

    /* Keys that are looked for at the target (check.h). */
    enum verifying verifying;
    bool has_value; /* what is being written follows the value of its key */
    bool at_once;   /* the value is written by one request, or not at all (check.h) */
    struct checks checks;
    uint64_t asked_from; /* LSN of the first key of this run, which no process before it has reached;
                            UINT64_MAX: there was none yet */
    uint64_t ends_at;    /* verified at that LSN, but for keys under way; 0: not yet, or no more */
    bool unsettled;      /* ... and but for keys that were looked for too late: it is not in this run */
};

void sink_free(struct sink *to);

/* change_open, for keys that are selected or renamed, or may not be. */
void change_filter(struct sink *to, struct change *ch, unsigned vclass);

/* A key was read, and its value, of that class, follows. What comes of its name and database is in ch->key
 * and to->o.db. */
static inline void change_open(struct sink *to, struct change *ch, unsigned vclass)
{
    if (__builtin_expect(to->filter == NULL && !to->e->target.cluster && !key_is_ours(ch->key.p, ch->key.n),
                         1))
        to->o.db = ch->db;
    else
        change_filter(to, ch, vclass);
    to->o.live = false;
    to->o.at = ch->at;
}

/* A key that was opened, and whose value begins at value. c moves when something of it was taken. GOT: all is
 * done. NEED: with in_value the rest of the value goes to change_more, else nothing was taken, and the key
 * comes once more with more bytes. */
enum got change_key(struct sink *to, struct change *ch, struct cur *c, struct cur *value);

/* More of the key's value. */
enum got change_more(struct sink *to, struct cur *c);

/* A key whose value comes in pieces that others stand between: it goes to v by outlet_feed. */
void change_begin(struct sink *to, struct change *ch, struct value *v);

#define SITE_OF(to)                                                                                          \
    {                                                                                                        \
        (to)->outlet, (to)->e, &(to)->o, &(to)->s                                                            \
    }

/* A remark that is made once. */
void change_once(struct emit *e, struct origin *o, bool *told, const char *kind, const char *detail);

/* A key whose hint was to be carried over is written as commands, which know none: said once. */
void change_hint_lost(struct sink *to);

/* The flow's database as the target has it. */
static inline uint32_t sink_db(const struct sink *to, uint32_t db)
{
    return to->filter != NULL ? filter_db(to->filter, db) : db;
}

/* While a transaction waits for its EXEC, or a key for its value, no position behind that may be confirmed.
 */
static inline uint64_t sink_below(const struct sink *to, uint64_t lsn)
{
    if (to->in_multi)
        return 0;
    return lsn < to->hold ? lsn : to->hold;
}

/* The position that is reached with all entries so far, as far as it may be confirmed. */
static inline uint64_t sink_reached(const struct sink *to)
{
    if (!to->counting)
        return 0;
    /* What is written while an entry is taken up does not confirm that entry. */
    bool within = to->o.entry && to->o.after > 0 && to->o.after <= to->next_lsn;
    return sink_below(to, within ? to->before : to->next_lsn);
}

/* ---- reread.c, commands.c ---- */

/* A command of the source's journal or stream. */
void change_command(struct sink *to, const struct change *ch);

/* The same for one that was kept back, or is not of the journal. */
void change_write(struct sink *to, const struct change *ch);

/* Write what it means for the target. Keys that are read again are not looked at: that was done. */
void change_apply(struct sink *to, const struct change *ch);

#endif
