/*
 * standin: a stand-in for a Dragonfly, Redis or Valkey master, for tests and benchmarks only.
 *
 * It speaks the master's side of the DFLY replication protocol and gets the bytes of its flows
 * either from a recorded session (capture.c) or from a generator (generate.c).  Field terms
 * (flow, LSN, cut, txid ...) are those of the wire specification.  Recorded sessions of PSYNC are
 * played by the files psync_*.c (psync.h): there a flow is a master's whole connection.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define STANDIN_VERSION "1"
#define REPLID_LEN      40u
#define TOKEN_LEN       40u
#define MAX_FLOWS       1024u
#define MAX_FAULTS      32u
#define MAX_ARGS        64u
#define MAX_REQUEST     ((size_t)64 * 1024)
#define NEVER           INT64_MAX

/* ---- options.c, help.c ---- */

enum compression { COMPRESS_NONE, COMPRESS_LZ4, COMPRESS_ZSTD };
enum journal_kind { JOURNAL_SET, JOURNAL_INCR, JOURNAL_RPUSH, JOURNAL_MIXED };
enum value_type { TYPE_STRING, TYPE_HASH, TYPE_ZSET, TYPE_LIST, TYPE_SET, TYPE_COUNT };
enum fault_kind { FAULT_CUT, FAULT_STALL, FAULT_CORRUPT, FAULT_TRUNCATE };

/* Where a connection to a PSYNC master is cut, or something wrong is put into its stream. */
enum place { PLACE_RDB, PLACE_TOKEN, PLACE_BOUNDARY, PLACE_COMMAND, PLACE_MULTI, PLACE_MULTI_COMMAND };
enum form { FORM_RECORDED, FORM_DISK, FORM_TOKEN };

struct placed_cut {
    enum place place;
    uint32_t flow, session; /* session as in struct fault */
};

/* A wrong answer to PSYNC: one of these is set. */
struct wrong {
    const char *reply, *transfer, *stream;
    uint32_t session;
};

#define FAULT_CONTROL UINT32_MAX /* the fault is the control connection's, not a flow's */

/* One planned misbehaviour: something that happens at an offset of what a connection sends. */
struct fault {
    enum fault_kind kind;
    uint32_t flow;    /* or FAULT_CONTROL */
    uint32_t session; /* ordinal of the session, from 1; 0 = every session */
    uint64_t at;
    uint8_t xor ;
};

struct options {
    /* what is served */
    char *capture;
    uint64_t live_port, live_warm, live_dbs, live_keys, live_flush, live_omit;
    bool version_given; /* --df-version */
    bool second_session, close_at_end, live_safe;
    /* a PSYNC master */
    bool uncut, getack, backlog_given;
    enum form form;
    uint64_t lag, cut_min, cut_max;
    struct placed_cut placed_cut[MAX_FAULTS];
    struct wrong wrong[MAX_FAULTS];
    unsigned placed_cuts, wrongs, values_ports;
    uint64_t values_port[8];
    char *acks;
    bool generate;
    uint64_t flows, keys, value_size, elements, element_size, expiry, expiry_spread, seed, blob_size;
    uint64_t weight[TYPE_COUNT];
    enum compression compression;
    uint64_t journal_rate, journal_ops, big_value, fullsync_journal, flush_at;
    enum journal_kind journal_kind;
    bool has_flush_at, flush_before_cut, with_journal;
    char *write_dfs, *write_resp, *write_capture;
    /* how it presents itself */
    char *bind, *user, *password, *replid, *last_master, *df_version;
    uint64_t port, greeting, version_int, loading, backlog;
    char *values, *dbs;
    uint64_t close_at_dump, mute_at_dump, close_at_scan, omit;
    bool no_scan;
    bool old_no_partial, replica_error, plain_ok, partial_by_sync, lose_backlog, has_full_flow, resume_error,
        resume_lost;
    uint64_t full_flow;
    /* how it misbehaves */
    uint64_t slow, split_min, split_max, startstable_delay, filler_rate, replication_timeout;
    bool never_startstable, bad_token;
    struct fault fault[MAX_FAULTS];
    unsigned faults;
    /* what it reports */
    char *log_path;
    uint64_t *expect_acks;
    unsigned expect_count;
    uint64_t timeout;
    bool help, version;
};

extern struct options opt; /* set once by main before anything else runs */

/* Fills opt; returns 0, or 2 with a message on stderr. */
int options_parse(int argc, char **argv);
/* Decimal number, whole text, no sign; false on anything else. */
bool parse_u64(const char *text, uint64_t *value);
void print_help(void);

/* ---- buf.c: a growing byte buffer and the RDB primitives ---- */

struct buf {
    uint8_t *p;
    size_t len, cap;
};

void buf_free(struct buf *b);
/* Makes room for n more bytes and returns where they go; the caller adds to len what it used. */
uint8_t *buf_room(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_byte(struct buf *b, uint8_t byte);
void buf_le(struct buf *b, uint64_t value, unsigned bytes);
void buf_text(struct buf *b, const char *text);
/* Packed unsigned integer, shortest form. */
void buf_plen(struct buf *b, uint64_t value);
/* RDB string: the integer form where a real master would use it. */
void buf_pstr(struct buf *b, const void *p, size_t n);
/* A listpack is begun, filled element by element, and ended; begin returns its start. */
size_t listpack_begin(struct buf *b);
void listpack_add(struct buf *b, const char *p, size_t n);
void listpack_end(struct buf *b, size_t start, uint64_t count);
/* One RESP bulk string. */
void buf_bulk(struct buf *b, const void *p, size_t n);
void buf_array(struct buf *b, size_t n);
/* True if the text is the canonical decimal form of a signed 64-bit integer. */
bool canonical_int(const char *p, size_t n, int64_t *value);
/* Writes the decimal digits of value; returns how many. */
size_t format_u64(char *out, uint64_t value);

/* ---- rng.c ---- */

uint64_t mix64(uint64_t x);
uint64_t mix2(uint64_t a, uint64_t b);
/* 40 lower-case hex digits and a NUL, a function of the two numbers. */
void hex40(char out[REPLID_LEN + 1], uint64_t a, uint64_t b);

/* ---- sources: where a flow's bytes come from ---- */

enum phase { PHASE_SNAPSHOT, PHASE_STABLE };

enum {
    CHUNK_CUT = 1,    /* once this chunk is sent, opcode 200 has been delivered */
    CHUNK_SWITCH = 2, /* once this chunk is sent, the EOF token has been delivered */
};

struct chunk {
    const uint8_t *p;
    size_t len;
    unsigned flags;
};

struct source;
struct source_ops {
    /* Next bytes in this phase, valid until the next call.  False: none now; *wake_at is lowered
     * to the time when there may be some. */
    bool (*next)(struct source *s, enum phase phase, int64_t now_us, struct chunk *c, int64_t *wake_at);
    uint64_t (*next_lsn)(const struct source *s); /* after all bytes handed out so far */
    bool (*finished)(const struct source *s);
    bool (*between_entries)(const struct source *s); /* may foreign entries be sent here? */
    void (*close)(struct source *s);
};
struct source {
    const struct source_ops *ops;
};

/* How a flow begins, as answered to DFLY FLOW. */
struct flow_start {
    bool has_lsn;
    uint64_t lsn; /* asked for */
    bool partial;
    bool by_sync; /* partial, but in the form of a full sync */
    char token[TOKEN_LEN + 1];
    struct source *source;
};

/* ---- capture.c, capture_source.c: recorded sessions ---- */

struct rec_flow {
    const uint8_t *data; /* NULL: this flow is not in the recording */
    size_t len, reply_end, cut_end, pre_end, switch_end;
    bool partial, whole_entries; /* pre_end lies between two entries */
    char token[TOKEN_LEN + 1];
    uint64_t first_lsn, end_lsn; /* of the journal: opcode 211 (or as asked), and at its end */
};

struct rec_session {
    char sync[32];
    unsigned flows;
    struct rec_flow *flow;
};

struct capture {
    unsigned sessions;
    struct rec_session session[8];
    char replid[REPLID_LEN + 1], lineage[REPLID_LEN + 1], df_version[32];
    unsigned greeting, version_int, first_sync;
    char dbs[64];
};

/* NULL with a message on stderr. */
struct capture *capture_load(const char *dir);
void capture_free(struct capture *c);
/* Opens the source of a flow in the n-th session (from 1); false with a message on stderr. */
bool capture_start(const struct capture *c, unsigned session, unsigned flow, struct flow_start *start);
/* The flow's next LSN once everything recorded has been sent. */
uint64_t capture_end_lsn(const struct capture *c, unsigned flow);

/* walk.c: steps over recorded bytes */

/* Reads a packed integer; returns its size, 0 if it is damaged or cut short. */
size_t walk_plen(const uint8_t *p, size_t n, uint64_t *value);
/* Steps over journal entries from lsn on until `until` or the end; returns the bytes passed and
 * leaves in *lsn the next LSN. */
size_t walk_journal(const uint8_t *p, size_t n, uint64_t *lsn, uint64_t until);
/* Steps over one top-level entry that may follow the cut; returns its size, 0 if it is none. */
size_t walk_after_cut(const uint8_t *p, size_t n);

/* inflate.c: decompresses one blob, opcode and length included, onto out. */
bool inflate_blob(const uint8_t *p, size_t n, struct buf *out);

/* ---- dataset.c: the generated keys, a function of the seed ---- */

struct dataset {
    char *text; /* pool of words that values are cut from */
    uint64_t weights;
    struct buf scratch, element;
    bool one_type;
    enum value_type only;
};

void dataset_init(struct dataset *d);
void dataset_free(struct dataset *d);
uint64_t dataset_flow_keys(unsigned flow);  /* how many keys flow has */
size_t key_name(char *out, uint64_t index); /* 14 bytes or more */
uint64_t key_expiry(uint64_t index);        /* 0 = none */
/* n bytes of text with numbers, a function of tag */
void value_bytes(const struct dataset *d, uint8_t *out, size_t n, uint64_t tag);
/* RDB key entry, and the same as RESP commands */
void rdb_key_value(struct dataset *d, struct buf *out, uint64_t index);
void key_resp(struct dataset *d, struct buf *out, uint64_t index);
#define BIG_KEY "big:value"
void big_head(struct buf *out, bool resp);
size_t big_part(const struct dataset *d, struct buf *out, uint64_t offset); /* bytes appended */

/* ---- entry.c: generated journal entries ---- */

struct words { /* one command */
    size_t argc;
    const char *argv[32];
    size_t len[32];
    struct buf store;
};

struct live_op {
    unsigned flow;
    uint64_t index;     /* ordinal of the operation within the flow, from 0 */
    uint64_t key_limit; /* only the first so many keys of the flow may be touched */
};

/* The command of an operation: a pure function of its arguments and the seed. */
void live_command(const struct dataset *d, const struct live_op *op, struct words *w);
uint64_t live_txid(const struct live_op *op);
void journal_command(struct buf *out, uint64_t txid, const struct words *w);
void journal_command_db(struct buf *out, unsigned db, uint64_t txid, const struct words *w);
void journal_blob(struct buf *out, uint64_t txid, const struct words *w); /* opcode 210 */
void words_set(struct words *w, size_t argc, const char *const *argv);
void words_free(struct words *w);
#define FLUSH_TXID (UINT64_C(1) << 33)

/* ---- blob.c ---- */

struct packer;
struct packer *packer_new(void);
void packer_free(struct packer *p);
/* Compressed blob of `raw` into `out` (emptied first), or raw itself where that saves too little. */
const struct buf *packer_pack(struct packer *p, const struct buf *raw, struct buf *out);

/* ---- generate.c ---- */

struct generator;
struct generator *generator_new(void);
void generator_free(struct generator *g);
bool generator_start(struct generator *g, unsigned session, unsigned flow, struct flow_start *start);
uint64_t generator_next_lsn(const struct generator *g, unsigned flow);

/* ---- live.c, live_source.c: writes without end ---- */

struct master;
struct conn;
struct request;
struct live;
struct live *live_new(void); /* NULL with a message */
void live_free(struct live *l);
bool live_start(struct live *l, unsigned session, unsigned flow, struct flow_start *start);
uint64_t live_next_lsn(const struct live *l, unsigned flow);
void live_tick(struct master *m, int64_t now_us); /* the writes that are due */
/* STANDIN PAUSE, GO, INFO, and SCAN, DUMP, PTTL; false: it is none of them. */
bool live_run(struct master *m, struct conn *c, const struct request *r);
uint64_t live_omits(const struct live *l); /* writes left out of the journals */
void live_keyspace(struct live *l, struct buf *out);

/* plan.c: which entries those are */
uint64_t plan_early(void);
uint64_t plan_place(unsigned flow, uint64_t e);
uint64_t plan_live_ops(unsigned flow);
uint64_t plan_flush_entry(unsigned flow); /* the FLUSHALL of --flush-at, or UINT64_MAX */
uint64_t plan_entries(unsigned flow);     /* with the full sync's and the FLUSHALL */
/* The operation of entry e (not for the FLUSHALL). */
struct live_op plan_op(unsigned flow, uint64_t e);
void snapshot_header(struct buf *out, unsigned flow, bool file);

/* ---- export.c: --write-dfs, --write-resp, --write-capture; 0 or an exit status ---- */

int export_dfs(const char *path);
int export_resp(const char *path);
int export_capture(const char *dir);

/* ---- conn.c, request.c ---- */

struct master;
struct session;

struct request {
    size_t argc;
    char *argv[MAX_ARGS];
    size_t len[MAX_ARGS];
    struct buf store;
};

/* Takes one request (RESP array or inline) from p; returns bytes used, 0 if incomplete, -1 if bad. */
ssize_t request_parse(const uint8_t *p, size_t n, struct request *r);

struct conn {
    struct conn *next;
    int fd;
    unsigned id;
    bool closed, authenticated, loading, quit, write_shut;
    bool mute;      /* it is answered nothing more */
    bool out_armed; /* waiting for EPOLLOUT */
    bool announced, client_id_seen;
    struct session *session; /* of a control connection or a flow */
    /* to a PSYNC master */
    unsigned node, version_major, listening;
    bool capa_eof, capa_psync2, in_multi, queued_reads, held;
    struct buf queued;
    unsigned queued_count;
    unsigned db;
    struct flow *flow;
    struct buf in, out;
    size_t out_sent;
    uint64_t sent; /* bytes ever sent */
};

struct conn *conn_new(struct master *m, int fd, unsigned node);
void conn_reply(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends the waiting replies; true when none is left. */
bool conn_flush(struct master *m, struct conn *c);
/* Goes on with requests that were held back. */
void conn_go_on(struct master *m, struct conn *c);
void conn_readable(struct master *m, struct conn *c);
/* Marks the connection closed; a session that it is part of ends with it. */
void conn_close(struct master *m, struct conn *c, const char *why);
/* Ends our side of the connection (FIN): what was sent is still to be read. */
void conn_shut(struct conn *c);
void conn_reap(struct master *m); /* frees closed connections; only between event batches */
void conn_arm(struct master *m, struct conn *c, bool out);

/* ---- command.c, dfly.c ---- */

void command_run(struct master *m, struct conn *c, struct request *r);
void dfly_run(struct master *m, struct conn *c, struct request *r);
bool word_is(const char *a, const char *b);

/* ---- keyspace.c ---- */

/* --omit: the full sync leaves the key out. */
bool key_omitted(uint64_t index);
/* Whole buckets of a shard's keys from bucket *at on, which is 0 again at its end, to out, until *found is
 * limit or more. */
typedef void scan_fn(void *ctx, unsigned db, unsigned shard, uint64_t *at, uint64_t limit, struct buf *out,
                     uint64_t *found);
/* Answers SCAN as a real master does: one shard after the other, and the shard's number in the lowest ten
 * bits of the cursor.  scan NULL: there are no keys. */
void scan_answer(struct conn *c, const struct request *r, scan_fn *scan, void *ctx);
/* SCAN, DUMP and PTTL of generated keys; false: it is none of them. */
bool keyspace_run(struct master *m, struct conn *c, const struct request *r);

/* ---- values.c ---- */

struct values;
/* path: --values, or NULL; dbs: databases that hold keys besides those of the values.  NULL with a message.
 */
struct values *values_load(const char *path, const char *dbs);
void values_free(struct values *vs);
void values_keyspace(const struct values *vs, struct buf *out);
/* SELECT, DUMP, PTTL; false: it is none of them. */
bool values_run(struct master *m, struct conn *c, struct request *r);

/* ---- session.c, flow.c ---- */

enum session_state { PREPARATION, FULL_SYNC, STABLE_SYNC };

struct flow {
    struct conn *conn;
    struct session *session;
    unsigned id;
    bool partial, by_sync, cut_sent, switch_sent, blocked, stalled, truncated, acked;
    struct source *source;
    struct chunk chunk;
    size_t chunk_sent;
    uint64_t sent;           /* stream bytes, the FLOW reply not counted */
    uint64_t cut_at, origin; /* PSYNC: bytes at which the connection is cut; offset that it began behind */
    uint64_t last_ack, acks, rng;
    int64_t blocked_since, blocked_total, last_progress, budget_at, filler_at;
    uint64_t budget; /* --slow: bytes that may be sent now */
    struct buf filler;
};

struct session {
    struct session *next;
    unsigned id, ordinal; /* SYNC<id>; the n-th session of this process */
    enum session_state state;
    struct conn *control;
    struct flow **flow; /* nflows, NULL where not connected */
    bool starting;      /* STARTSTABLE has come and is not answered */
    bool stable;        /* flows may send what follows STARTSTABLE */
    bool ended;
    int64_t stable_at;
};

struct session *session_new(struct master *m, struct conn *control);
struct session *session_find(struct master *m, unsigned id);
/* Logs the last acks and closes every connection of the session. */
void session_end(struct master *m, struct session *s, const char *why);
void session_reap(struct master *m);
bool session_complete(const struct master *m, const struct session *s); /* all flows connected */
/* Lets all flows send; returns true if there is more to do at once. */
bool sessions_pump(struct master *m, int64_t now_us);
void session_ack(struct master *m, struct flow *f, uint64_t lsn);
void session_startstable(struct master *m, struct session *s);

bool flow_pump(struct master *m, struct flow *f, int64_t now_us);
void flow_free(struct flow *f);
const struct fault *fault_find(enum fault_kind kind, uint32_t flow, uint32_t session, uint64_t from);

/* ---- master.c (the event loop), log.c ---- */

#define MAX_LISTENERS 8u

struct listener {
    int fd;
    unsigned port;
};

struct psync;
struct master {
    int epoll_fd, signal_fd;
    struct listener listener[MAX_LISTENERS]; /* one, or one per node of a recorded cluster */
    unsigned listeners;
    FILE *log;
    int64_t started_us, wake_at;
    char replid[REPLID_LEN + 1], lineage[REPLID_LEN + 1], df_version[32];
    unsigned nflows, greeting, version_int;
    unsigned next_sync, sessions_started, conns_accepted;
    struct capture *capture;
    struct generator *generator;
    struct live *live;
    struct psync *psync;
    struct values *values;
    struct conn *conns;
    struct session *sessions;
    uint64_t *last_ack; /* of the newest session that got acks */
    unsigned long illegal;
    uint64_t scans;
    uint64_t omits; /* writes left out of the journal, as INFO stats has them */
    bool stop;
    int status;
};

int64_t clock_us(void);
void wake_at(struct master *m, int64_t when_us);
/* Runs until stopped; returns the exit status. */
int master_run(struct master *m);
bool master_listen(struct master *m);

/* One line: time, connection, flow, event, details. */
void log_event(struct master *m, const struct conn *c, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A thing that a correct replica never does. */
void log_illegal(struct master *m, const struct conn *c, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *grab(size_t n); /* zeroed memory, or death */

#endif
