/* dfstate: dumps, compares, counts and digests the keys of RESP servers.
 *
 * A key becomes one canonical line of JSON, `{"db": 0, "key": "k", "ttl": -1, "type": "string",
 * "value": "v"}`, members sorted, bytes written as the code points 0 to 255. Since that text is
 * canonical, two equal lines are two equal keys, and JSON has to be parsed only where they differ.
 */
#ifndef DFSTATE_H
#define DFSTATE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys with this prefix belong to df2redis itself and are no data. */
#define POSITION_PREFIX "df2redis:{"

enum { EXIT_EQUAL = 0, EXIT_DIFFERENT = 1, EXIT_CANNOT = 2 };

typedef struct bytes {
    const char *p;
    size_t n;
} bytes;

typedef struct buf {
    char *p;
    size_t len, cap;
} buf;

/* One key. What it points to lives until its source is asked for the next one. */
typedef struct record {
    int db;
    bytes key;
    bytes line; /* canonical JSON, no newline */
    const char *type;
} record;

/* What a URL or the arguments of `dump` name. */
typedef struct target {
    bool cluster;
    char *host;
    int port;
    int *dbs; /* ascending, none twice */
    size_t ndbs;
} target;

typedef struct keyref {
    const char *key;
    uint32_t len;
    uint16_t db;
    uint16_t node;
} keyref;

/* Keys in (db, key, node) order; their bytes lie in `blocks`, which never move. */
typedef struct keylist {
    keyref *refs;
    size_t n, cap;
    char **blocks;
    size_t nblocks, room;
} keylist;

typedef struct node {
    redisContext *c;
    buf out; /* commands not yet handed to hiredis */
    int db;
} node;

typedef struct server {
    node *nodes;
    size_t n;
} server;

typedef struct live_options {
    bool no_ttl;
    bool no_reads;  /* leave out entries-read, which a server may not know */
    bool one_a_key; /* a key held by several cluster nodes counts once, the last node's */
} live_options;

typedef struct live live;
typedef struct file_source file_source;

typedef struct diff_options {
    size_t list; /* differences that are shown */
    long long ttl_slack;
    bool no_ttl;
    bool redis_target;
} diff_options;

/* util.c */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *grow_array(void *p, size_t *cap, size_t need, size_t size);
void *xcalloc(size_t n, size_t size);
char *copy_text(const char *p, size_t n);
bytes lit(const char *s);
int bytes_cmp(bytes a, bytes b);
void buf_room(buf *b, size_t more);
void buf_add(buf *b, const char *p, size_t n);
void buf_text(buf *b, const char *s);
void buf_int(buf *b, long long v);
void buf_json(buf *b, bytes s);
void buf_json_body(buf *b, bytes s);
void buf_free(buf *b);

/* pyfloat.c */
enum { PYFLOAT_MAX = 40 };
size_t py_repr(double d, char out[PYFLOAT_MAX]);
bool py_normal_float(bytes text, char out[PYFLOAT_MAX], size_t *len);

/* target.c */
bool is_url(const char *s);
void target_from_url(target *t, const char *url);
void target_set_dbs(target *t, const char *list);
void target_free(target *t);

/* server.c */
void server_open(server *s, const target *t);
void server_close(server *s);
void wire_put(node *n, const bytes *argv, size_t argc);
redisReply *wire_reply(node *n);
redisReply *wire_reply_ok(node *n, const char *what);
void node_select(node *n, int db);

/* keys.c */
void keylist_scan(keylist *l, server *s, const target *t);
void keylist_sort(keylist *l, bool one_a_key);
void keylist_free(keylist *l);

/* values.c */
enum kind { K_NONE, K_STRING, K_LIST, K_SET, K_ZSET, K_HASH, K_STREAM, K_JSON, K_OTHER };
/* An empty value or an error may mean that the key has expired meanwhile; an error is not written. */
enum outcome { V_READ, V_EMPTY, V_ERROR };
enum kind kind_of(const char *type);
void groups_sort(redisReply *groups);
void value_ask(node *n, enum kind kind, bytes key, const redisReply *groups);
enum outcome value_read(node *n, enum kind kind, const char *type, const redisReply *groups,
                        const live_options *o, buf *out);

/* live.c */
live *live_open(const target *t, live_options o);
bool live_next(live *l, record *r);
void live_close(live *l);

/* file.c */
file_source *file_open(const char *path);
bool file_next(file_source *f, record *r);
void file_close(file_source *f);

/* diff.c */
int diff_run(const char *a, const char *b, const diff_options *o);

/* extra.c */
void extra_run(const target *t);

/* digest.c */
void digest_run(const target *t, bool no_ttl);

#endif
