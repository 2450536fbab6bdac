/*
 * The stand-in as the master of a PSYNC replica: recorded sessions of Redis and Valkey.
 *
 * A capture has one node, or the three masters of a cluster.  A node's connections were recorded one after
 * the other; each of them is a stage.  A stage that began with +CONTINUE goes on with the history before it,
 * perhaps under another replication id; one that began with +FULLRESYNC begins a history of its own.  The
 * stand-in plays a stage to its end, closes the connection there, as it was closed when it was recorded, and
 * goes on with the next stage.
 */
#ifndef STANDIN_PSYNC_H
#define STANDIN_PSYNC_H

#include "standin.h"

#define MAX_STAGES  16u
#define MAX_NODES   8u
#define RANGES_TEXT 512u

/* Where a command of the stream ends, as the replication offset behind it. */
struct psync_mark {
    uint64_t end;
    bool open;  /* it is within MULTI and EXEC, or the MULTI: no position may be confirmed here */
    bool trims; /* it is TRIMSLOTS */
};

/* What one full sync and all partial ones behind it have recorded. */
struct psync_history {
    const uint8_t *rdb;
    size_t rdb_len;
    bool by_token; /* $EOF:token, not $n */
    char token[TOKEN_LEN + 1];
    unsigned newlines; /* before the transfer */
    uint64_t start;    /* offset at which the stream begins */
    struct buf stream;
    struct psync_mark *mark;
    size_t marks;
};

struct psync_stage {
    unsigned history;
    char id[REPLID_LEN + 1], id2[REPLID_LEN + 1];
    uint64_t second; /* second_repl_offset: id2 counts up to here */
    uint64_t end;    /* offset behind the last byte that was recorded */
};

struct psync_node {
    char lineage[32], id[REPLID_LEN + 1]; /* id: in a cluster */
    char slots_at_start[RANGES_TEXT], slots_at_end[RANGES_TEXT];
    struct psync_history history[MAX_STAGES];
    struct psync_stage stage[MAX_STAGES];
    unsigned index, histories, stages, now, sessions; /* now: the stage that is played */
    uint64_t sent, acked;                             /* highest offset sent, last one acknowledged */
    bool acked_all;              /* the server of --values-of has acknowledged the last one */
    struct redisContext *oracle; /* --values-of; NULL: not connected yet */
};

struct psync {
    bool valkey, cluster;
    char version[32], dbs[64];
    unsigned major, nodes;
    struct psync_node node[MAX_NODES];
    FILE *acks;
};

/* psync_capture.c.  True if meta.json of the folder describes PSYNC sessions. */
bool psync_recorded(const char *dir);
/* NULL with a message on stderr. */
struct psync *psync_load(const char *dir);
void psync_free(struct psync *p);

/* psync_history.c.  Appends bytes of the stream that begin behind offset `from`; false if they leave a gap or
 * differ from what is there. */
bool history_add(struct psync_history *h, uint64_t from, const uint8_t *p, size_t n);
/* Finds the ends of the commands; false if the stream is not made of commands. */
bool history_mark(struct psync_history *h);
/* A position that may be confirmed: behind a command that is not within MULTI. */
bool history_boundary(const struct psync_history *h, uint64_t offset);
uint64_t history_end(const struct psync_history *h);
/* Offset of a kind of place at or behind `from`, chosen by rng; 0 if there is none. */
uint64_t history_place(const struct psync_history *h, enum place place, uint64_t from, uint64_t rng);
/* The TRIMSLOTS that ends first behind an offset, or NULL; text: its n bytes. */
const struct psync_mark *history_trim(const struct psync_history *h, uint64_t from, const char **text,
                                      size_t *n);

/* psync_source.c */
struct psync_reply { /* how a PSYNC is answered */
    bool full;
    char text[128]; /* the line, without its end */
    uint64_t from;  /* the stream begins behind this offset */
    bool by_token;  /* full: form of the transfer */
    char token[TOKEN_LEN + 1];
    bool follower; /* it is a server of --values-of */
};
struct source *psync_source(const struct psync_node *n, const struct psync_reply *r,
                            const struct wrong *wrong, uint64_t rng);
/* A server of --values-of is sent nothing behind a TRIMSLOTS until it goes on. Returns the command if it
 * stands there; NULL: it does not. */
const char *psync_source_stopped(const struct source *s, uint64_t at, size_t *n);
void psync_source_go_on(struct source *s);

/* psync_session.c */
void psync_open(struct master *m, struct conn *c, const struct request *r);
void psync_ack(struct master *m, struct conn *c, uint64_t offset);
/* Recorded cuts that are due. */
void psync_tick(struct master *m);

/* psync_command.c.  False: it is no command of its own. */
bool psync_run(struct master *m, struct conn *c, const struct request *r);
void psync_on_flow(struct master *m, struct conn *c, const struct request *r);

/* psync_oracle.c */
/* True once the end of the recording has come, for all masters. */
bool psync_settled(const struct master *m);
/* A request that reads keys; it waits for that, and what comes behind it on its connection with it. */
bool psync_reads(const struct request *r);
bool psync_holds(const struct master *m, const struct conn *c, const struct request *r);
/* DUMP and the like, with --values-of; false: it is none of them. */
bool psync_value(struct master *m, struct conn *c, const struct request *r);
/* Names of a slot's keys, or how many there are. */
void psync_slot_keys(struct master *m, struct conn *c, unsigned slot, bool count);
/* Removes the keys of a TRIMSLOTS at the server of --values-of: it is no node of a cluster, and does not do
 * so itself. */
void psync_trim(struct psync_node *n, const char *command, size_t len);
void psync_oracles_close(struct psync *p);

/* psync_info.c, psync_cluster.c */
void psync_info(struct master *m, struct conn *c, const struct request *r);
void psync_cluster(struct master *m, struct conn *c, const struct request *r);

#endif
