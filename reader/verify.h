/* Masters that lose new keys: from v1.39 on a Dragonfly leaves SETs out of the journal of a full sync when
 * the snapshot has not come to their key yet (journal_omit_redundant_writes), and some of these keys never
 * come. So after the full sync of such a master every key that it has is looked for at the target: SCAN here,
 * CHECK records in the stream, EXISTS by the writer, and what is missing there is read again, until a pass
 * over all keys finds none. dfreader(1) "Verifying"; dfrecord(5) CHECK, PROBE.
 *
 *   verify.c       the state, what goes into the stream, what the writers say
 *   verify_scan.c  the connection: INFO, SCAN
 */
#ifndef READER_VERIFY_H
#define READER_VERIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"
#include "link.h"

#define VERIFY_WINDOW  8192u /* keys that were asked for and are not answered */
#define VERIFY_COUNT   1000u /* of a SCAN */
#define VERIFY_AGAIN   256u  /* keys that are being read again */
#define VERIFY_MISSING 65536u
#define VERIFY_PASSES  20u

struct owner;
struct options;
struct peer;
struct redisReply;
struct missing;

enum verify_state {
    VERIFY_OFF,    /* not needed */
    VERIFY_NEEDED, /* once the full sync is complete */
    VERIFY_RUNS,
    VERIFY_DONE,
    VERIFY_FAILED, /* it could not be carried out: said in the log and an alarm */
};

/* The reply that is awaited; there is one request on its way (SCAN and DFLY REPLICAOFFSET: two). */
enum verify_await { VA_NONE, VA_AUTH, VA_STATS, VA_KEYSPACE, VA_SELECT, VA_SCAN, VA_OFFSETS };

/* What a writer said of a flow, or what the stream has of it. */
struct verify_count {
    uint64_t keys;  /* of a pass */
    uint64_t again; /* read again, and asked for once more */
    uint64_t found; /* of these, those that are there now */
};

struct verify {
    enum verify_state state;
    struct verify_count *asked; /* of each flow */

    struct link link;
    struct redisReader *reader;
    size_t fed; /* bytes of the reply that is being read */
    enum verify_await await;
    uint64_t await_since, next_at; /* mono_us */
    unsigned losses;               /* of the connection, in a row */
    bool looked;                   /* INFO stats was asked for */
    bool more;                     /* there is more to do at once */

    uint32_t *db; /* that hold keys */
    unsigned ndbs, at_db;
    bool listed, selected;
    uint64_t cursor;
    bool by_one; /* COUNT 1: the next reply must have keys of one shard only */
    struct redisReply *scan;

    STAILQ_HEAD(, missing) missing; /* at the target: to be read again */
    unsigned nmissing;

    unsigned pass;
    uint64_t pass_keys, pass_found; /* pass_found: at its beginning */
    uint64_t lost, overflow, unnamed;
};

void verify_init(struct verify *v);

/* A session begins, or all ends: everything of the one before is dropped. */
void verify_reset(struct owner *w);

/* The master is known (its handshake is done), and a full sync follows. */
void verify_full_sync(struct owner *w);

/* The session goes on, and its writer says that an earlier one was not verified to its end. */
void verify_owed(struct owner *w);

/* All FLOW records are written: say in each flow's stream that it will be verified, if it will be. */
void verify_flows(struct owner *w);

/* All flows are synced. True: it runs now, and session_verified is called when it has ended. */
bool verify_start(struct owner *w);

/* Whatever can be done. */
void verify_pump(struct owner *w);

/* Milliseconds until verify_pump wants to be called, at most most. */
int verify_timeout(const struct owner *w, int most);

/* A line of a writer: missing, probed, unprobed. */
void verify_line(struct owner *w, struct peer *p, const char *line);

static inline bool verify_runs(const struct verify *v)
{
    return v->state == VERIFY_RUNS;
}

/* ---- verify_scan.c ---- */

/* One step over the keys: ask, or take a reply. */
void verify_scan(struct owner *w);
void verify_scan_reset(struct verify *v);

/* ---- verify.c, for verify_scan.c ---- */

/* Keys of a flow that the source has, as it was at LSN at: into the stream. */
void verify_keys(struct owner *w, unsigned flow, uint64_t at, const struct redisReply *keys);

/* All databases were scanned in this pass. */
static inline bool verify_scanned(const struct verify *v)
{
    return v->listed && v->at_db >= v->ndbs;
}

void verify_next_pass(struct verify *v);
void verify_fail(struct owner *w, const char *why);

/* No write was left out during the full sync, so nothing can be missing. */
void verify_needless(struct owner *w);

#endif
