/* The master that --live pretends: writes without end, an oracle, and journals with a backlog. */
#ifndef LIVE_H
#define LIVE_H

#include "../crash/traffic.h"
#include "standin.h"

/* ---- oracle.c: the redis-server that holds the data ---- */

struct oracle;
struct oracle *oracle_open(unsigned port); /* NULL with a message */
void oracle_close(struct oracle *o);
/* False: the server refused it, nothing was changed. */
bool oracle_write(struct oracle *o, const struct traffic_command *c);

struct oracle_key {
    unsigned db;
    bool sent;
    uint64_t expiry; /* Unix milliseconds, 0 = none */
    char *name;
    uint8_t *dump; /* without the footer */
    size_t dump_len;
};
/* All keys of a flow as they are now; *n of them.  oracle_keys_free frees them. */
struct oracle_key *oracle_keys(struct oracle *o, unsigned flow, size_t *n);
void oracle_keys_free(struct oracle_key *keys, size_t n);
/* The reply to DUMP, as a Dragonfly gives it. */
void oracle_dump(struct oracle *o, unsigned db, const char *key, size_t len, struct buf *out);
long long oracle_pttl(struct oracle *o, unsigned db, const char *key, size_t len);
bool oracle_exists(struct oracle *o, unsigned db, const char *key, size_t len);
unsigned long long oracle_size(struct oracle *o, unsigned db); /* keys of a database */
/* The names of a flow's keys in a database, in an array; freeReplyObject frees it. */
struct redisReply *oracle_names(struct oracle *o, unsigned db, unsigned flow);

/* ---- live.c ---- */

struct live;

struct live_entry {
    unsigned db;
    struct buf bytes; /* as in the journal, SELECT first */
    struct buf keys;  /* names, each with a NUL; none: it concerns all */
};

struct oracle *live_oracle(struct live *l);
/* NULL: not in the backlog, or not written yet. */
const struct live_entry *live_entry(const struct live *l, unsigned flow, uint64_t lsn);
/* A DFLY FLOW, with or without LSN, is counted: is the answer PARTIAL? */
bool live_asked(struct live *l, unsigned flow, bool has_lsn, uint64_t lsn);
void live_write(struct live *l); /* one more command of some client */

/* A flow has one more reader of its journal, or one less; and one whose snapshot takes keys. */
void live_reads(struct live *l, unsigned flow, int readers, int snapshots);

/* ---- live_scan.c ---- */

/* SCAN. */
void live_scan(struct live *l, struct conn *c, const struct request *r);

#endif
