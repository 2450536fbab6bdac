/* A server that only lets its keys be read, as the source: SCAN, and DUMP or the commands of each type.
 * dfreader(1), "Reading by SCAN".
 *
 *   source_scan.c  the session: which servers there are, their flows, the end
 *   scan_probe.c   what a server is and permits, before it is scanned
 *   scan_node.c    the connection to one: which keys come next, where it is
 *   scan_ask.c     what is asked of a key, pipelined, and what the replies make of it
 *   scan_base.c    what these share
 *   scan_parts.c   large values, a part at a time
 *   scan_stream.c  large streams
 *   scan_wants.c   the keys that are being read, in order
 *   scan_list.c    keys that a file names
 *   scan_notes.c   keyspace notifications: keys that have to be read again
 *   key_out.c      records
 *   conn_in.c      replies, piece by piece
 *
 * Everything is read over one connection of a server, in one order: a key that is read again comes behind
 * what was read of it before. */
#ifndef READER_SCAN_SOURCE_H
#define READER_SCAN_SOURCE_H

#include "key_out.h"
#include "scan_encode.h"
#include "scan_wants.h"
#include "conn_in.h"
#include "../session.h"
#include "../source.h"
#include "../stream.h"
#include "slotset.h"
#include "spool.h"

#define SCAN_NODES 500u
#define SCAN_DBS   1024u
#define PLACE_TEXT 64
#define PLACES     1024u /* that are not applied yet */
#define VALUE_MEM  ((size_t)512 << 10)

/* What a server is and permits. */
struct scan_server {
    char version[48];
    char run_id[REPLID_LEN + 1]; /* "": it does not say */
    char replid[REPLID_LEN + 1];
    bool dragonfly;
    bool memory, dump, expiretime, field_ttl; /* MEMORY USAGE, DUMP, PEXPIRETIME, HPEXPIRETIME */
    bool dbs_known;
    uint32_t db[SCAN_DBS]; /* to be scanned: ... */
    unsigned dbs, held;    /* ... how many; the first of them held keys, dbs_known */
    uint64_t keys;
    struct slotset slots; /* of a node of a cluster */
};

/* The reply that is awaited. */
enum scan_ask {
    ASK_OK,      /* an error ends the flow */
    ASK_PERHAPS, /* an error does not matter */
    ASK_SCAN,
    ASK_TYPE,
    ASK_SIZE, /* MEMORY USAGE, or a number of elements */
    ASK_VALUE,
    ASK_TTL,
    ASK_NODES, /* CLUSTER NODES */
    ASK_PART,  /* scan_parts.c */
};

#define ASKS 8192u /* a power of two */

struct scan_place {
    uint64_t pos, read; /* keys that were read before it */
};

struct scan_notes;
struct scan_list;
struct scan_part;
struct scan_source;
struct scan_node;

/* What scan_ask.c tells scan_node.c. */
struct scan_calls {
    void (*page)(
        struct scan_node *n); /* a SCAN reply has come to its end: reply_cursor says where to go on */
    void (*nodes)(struct scan_node *n, const struct resp_token *t); /* of CLUSTER NODES */
    void (*place)(struct scan_node *n, const struct want *w);       /* the head of the queue is one */
};

struct scan_node {
    const struct scan_calls *calls;
    struct scan_source *source;
    struct flow *flow; /* NULL: not open */
    struct url at;
    char shown[280];
    struct scan_server server;
    struct lineage lineage;
    struct conn conn;
    struct conn_in in;
    struct key_out out;
    uint64_t moved_at; /* mono_us: it answered, or was asked when nothing was awaited */

    uint8_t ask[ASKS]; /* in their order */
    uint32_t asked, answered;
    struct wants wants;
    uint64_t on_way;      /* bytes of values, as far as they are known */
    uint64_t string_size; /* of the last ones */
    unsigned strings;     /* in a row */

    /* The scan. */
    uint32_t selected; /* database */
    unsigned at_db;    /* index */
    char cursor[24];
    char at_place[PLACE_TEXT]; /* as it was written last; "": not yet */
    struct buf value_nodes;    /* CLUSTER NODES */
    bool scanning;             /* a pass is under way */
    bool scan_asked;           /* SCAN is on its way */
    bool again;                /* another pass has to follow */
    uint64_t nodes_at;         /* mono_us: CLUSTER NODES */
    bool done;                 /* a pass was complete: the flow is synced */
    unsigned pass;
    unsigned count;
    uint64_t since_place; /* keys since the last place */
    char reply_cursor[24];
    size_t reply_cursor_len;

    /* Positions. */
    uint64_t pos;
    uint64_t read;        /* keys */
    uint64_t placed_read; /* of these, before the last place */
    struct scan_place place[PLACES];
    unsigned first_place, places;
    uint64_t applied_read; /* keys that are applied */

    /* The value of the key at the head. */
    struct buf value;
    struct spool large; /* where it does not fit */
    bool in_large, missing;
    bool writing; /* from there to the output */
    struct encoder encoder;
    char error[160];
    struct scan_part *part;   /* a large value is being read; NULL: none */
    struct scan_notes *notes; /* NULL: they are not followed */
    struct scan_list *list;   /* only these keys are read; NULL: all */
};

struct scan_source {
    struct source source;
    struct stream *stream;
    struct session *session;
    struct scan_node *node;
    unsigned nodes;
    unsigned turn;              /* the node that is served first */
    uint64_t window;            /* keys that may be read and not applied, of a node */
    uint64_t keys_at, bytes_at; /* mono_us: no more may be read before; --scan-rate, --scan-bytes */
    uint64_t keys;              /* that there were at the beginning */
};

static inline struct scan_source *scan_of(struct source *src)
{
    return (struct scan_source *)src;
}

static inline bool scan_follows(const struct scan_source *s)
{
    return s->stream->o->follow;
}

/* ---- scan_probe.c ---- */

/* Ask it, by --connect-timeout for each answer. Returns 0, or -1 with f. */
int scan_probe(struct scan_source *s, const struct url *at, struct scan_server *v, struct fault *f);

/* The nodes of the source: one, or the masters of a cluster. Returns 0, or -1 with f. */
int scan_find(struct scan_source *s, struct fault *f);

/* ---- scan_node.c ---- */

int scan_node_open(struct scan_node *n, struct fault *f); /* 0, or -1 with f */
void scan_node_close(struct scan_node *n); /* its connections; memory stays, as it may be in use */
void scan_node_free(struct scan_node *n);

/* Where the flow goes on: the text of a place, or NULL, from the beginning. */
void scan_node_begin(struct scan_node *n, uint64_t pos, const char *place);

/* Whatever can be done. True: there is more to do at once. */
bool scan_node_work(struct scan_node *n);

/* ---- scan_base.c ---- */

void scan_node_lost(struct scan_node *n, const char *why);

/* Notifications were lost: everything has to be read once more. */
void scan_node_again(struct scan_node *n, const char *why);

/* Append a request of arguments that are texts, but for *key (NULL: none), which stands at argument at. */
void scan_request(struct scan_node *n, enum scan_ask ask, int argc, const char *const *argv, int at,
                  const struct slice *key);

/* The key at the head. */
struct slice scan_name(const struct scan_node *n);
void scan_write_head(struct scan_node *n, const char *state, int type, int64_t length, int64_t expiry);

/* It is done with. */
void scan_pop(struct scan_node *n);

/* ---- scan_ask.c ---- */

/* Bytes of a value that is kept until its expiry is known. ctx: the node. */
void scan_put_value(void *ctx, const void *p, size_t n);

/* Ask for what can be asked for; take the replies that have come. False: nothing now. */
void scan_ask_keys(struct scan_node *n);
bool scan_take(struct scan_node *n);

/* ---- scan_parts.c ---- */

void scan_part_begin(struct scan_node *n);
void scan_part_token(struct scan_node *n, const struct resp_token *t);
void scan_part_free(struct scan_node *n);

/* ---- scan_list.c ---- */

int scan_list_open(struct scan_node *n, struct fault *f); /* 0, or -1 with f */
void scan_list_free(struct scan_node *n);

/* The next key that this server may have is there, and its database. False: there is none, or the connection
 * was given up as the file is at fault. */
bool scan_list_next(struct scan_node *n, uint32_t *db);

/* Have the queue take it. False: it cannot be kept. */
bool scan_list_take(struct scan_node *n);

/* ---- scan_notes.c ---- */

int scan_notes_open(struct scan_node *n, struct fault *f);
void scan_notes_close(struct scan_node *n);
void scan_notes_free(struct scan_node *n);
bool scan_notes_work(struct scan_node *n); /* true: there is more to do at once */

/* They are subscribed to. */
bool scan_notes_ready(const struct scan_node *n);

/* Have the queue take keys that were named, all of one database. False: there are none that are due. */
bool scan_notes_due(const struct scan_node *n, uint64_t now);
uint32_t scan_notes_db(const struct scan_node *n);
void scan_notes_take(struct scan_node *n);
unsigned scan_notes_waiting(const struct scan_node *n);

#endif
