/* Keyspace notifications: a second connection to a server, which names keys that have changed. They are read
 * again, each once however often it was named meanwhile. Whatever was not heard is answered by another pass
 * over all keys. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>
#include <sys/queue.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "exits.h"
#include "../inquire.h"
#include "io.h"
#include "log.h"
#include "scan_source.h"

#define BUCKETS    65536u
#define NOTES_MAX  1000000u
#define BYTES_MAX  ((size_t)64 << 20)
#define BATCH      512u
#define BATCH_SOON 256u
#define BATCH_WAIT (US / 50)
#define AGAIN_WAIT US /* before another connection is tried */
#define PING_EVERY (10 * US)
#define SILENT_MAX (40 * US)
#define CHANNEL    256

struct note {
    STAILQ_ENTRY(note) link;
    struct note *chain; /* in its bucket */
    uint32_t db;
    size_t len;
    char key[];
};

enum notes_state { NOTES_DOWN, NOTES_ASKED, NOTES_READY };

struct scan_notes {
    struct scan_node *node;
    struct conn conn;
    struct conn_in in;
    enum notes_state state;
    bool by_space; /* the channel names the key, not the event */
    bool ever;     /* they were subscribed to before */
    uint64_t next_at, heard_at, pinged_at;
    STAILQ_HEAD(, note) list;
    struct note *bucket[BUCKETS];
    unsigned waiting;
    size_t bytes;
    uint64_t first_at; /* of the batch */
    char kind[16];
    size_t kind_len;
    struct buf channel, payload;
};

/* ---- the keys ---- */

static void clear(struct scan_notes *s)
{
    struct note *x;
    while ((x = STAILQ_FIRST(&s->list)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->list, link);
        free(x);
    }
    memset(s->bucket, 0, sizeof s->bucket);
    s->waiting = 0;
    s->bytes = 0;
}

static struct note **find(struct scan_notes *s, uint32_t db, const void *key, size_t n)
{
    struct note **at = &s->bucket[XXH3_64bits_withSeed(key, n, db) % BUCKETS];
    while (*at != NULL && ((*at)->db != db || (*at)->len != n || memcmp((*at)->key, key, n) != 0))
        at = &(*at)->chain;
    return at;
}

static void add(struct scan_notes *s, uint32_t db, const void *key, size_t len)
{
    struct note **at = find(s, db, key, len);
    if (*at != NULL)
        return;
    if (s->waiting == NOTES_MAX || s->bytes + len > BYTES_MAX) {
        clear(s);
        scan_node_again(s->node, "more keys were named than can be kept");
        return;
    }
    struct note *x = xmalloc(sizeof *x + len);
    *x = (struct note){.db = db, .len = len};
    memcpy(x->key, key, len);
    *at = x;
    STAILQ_INSERT_TAIL(&s->list, x, link);
    if (s->waiting++ == 0)
        s->first_at = mono_us();
    s->bytes += len;
}

unsigned scan_notes_waiting(const struct scan_node *n)
{
    return n->notes->waiting;
}

bool scan_notes_due(const struct scan_node *n, uint64_t now)
{
    const struct scan_notes *s = n->notes;
    return s->waiting >= BATCH_SOON || (s->waiting > 0 && us_since(now, s->first_at) >= BATCH_WAIT);
}

uint32_t scan_notes_db(const struct scan_node *n)
{
    return STAILQ_FIRST(&n->notes->list)->db;
}

void scan_notes_take(struct scan_node *n)
{
    struct scan_notes *s = n->notes;
    struct note *x;
    uint32_t db = scan_notes_db(n);
    for (unsigned i = 0; i < BATCH && (x = STAILQ_FIRST(&s->list)) != NULL && x->db == db; i++) {
        *find(s, x->db, x->key, x->len) = x->chain;
        STAILQ_REMOVE_HEAD(&s->list, link);
        s->waiting--;
        s->bytes -= x->len;
        bool kept = wants_name(&n->wants, x->key, x->len) && wants_add(&n->wants, WANT_KEY, true);
        free(x);
        if (!kept) {
            scan_node_lost(n, "more keys are to be read again than can be kept");
            return;
        }
    }
    s->first_at = mono_us();
}

/* ---- is the server set up for it? ---- */

/* Every class that tells of a change: general, strings, lists, sets, hashes, sorted sets, expired, evicted,
 * streams. */
static bool flags_do(const char *flags, bool *by_space)
{
    static const char classes[] = "g$lshzxet";
    *by_space = strchr(flags, 'E') == NULL;
    if (*by_space && strchr(flags, 'K') == NULL)
        return false;
    for (const char *c = classes; *c != '\0'; c++)
        if (strchr(flags, 'A') == NULL && strchr(flags, *c) == NULL)
            return false;
    return true;
}

/* Returns 0, or -1 with f. flags: as they are now; "?": the server does not say. */
static int get_flags(struct inquiry *q, char *flags, size_t cap, struct fault *f)
{
    static const char *const get[] = {"CONFIG", "GET", "notify-keyspace-events"};
    if (inquire(q, 3, get, f) < 0)
        return -1;
    redisReply *r = q->conn.object;
    bool said = r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->str != NULL;
    strlcpy(flags, said ? r->element[1]->str : r->type == REDIS_REPLY_ARRAY ? "" : "?", cap);
    freeReplyObject(r);
    return 0;
}

static int set_flags(struct inquiry *q, const char *flags, struct fault *f)
{
    char more[64];
    snprintf(more, sizeof more, "%.40sAE", flags);
    const char *const set[] = {"CONFIG", "SET", "notify-keyspace-events", more};
    if (inquire(q, 4, set, f) < 0)
        return -1;
    redisReply *r = q->conn.object;
    bool ok = r->type == REDIS_REPLY_STATUS;
    if (!ok)
        fault_set(f, EXIT_CANNOT, "CONFIG SET notify-keyspace-events was refused: %s",
                  r->type == REDIS_REPLY_ERROR ? r->str : "unexpected reply");
    else
        log_event(LOG_WARN, NO_FLOW, "event=notifications_set notify-keyspace-events=%s", more);
    freeReplyObject(r);
    return ok ? 0 : -1;
}

static int check_flags(struct scan_notes *s, struct inquiry *q, struct fault *f)
{
    char flags[64];
    bool *by_space = &s->by_space;
    if (get_flags(q, flags, sizeof flags, f) < 0)
        return -1;
    if (strcmp(flags, "?") == 0) {
        log_event(LOG_WARN, NO_FLOW, "event=notifications_unknown server=%s note=%s", s->node->shown,
                  "\"CONFIG GET is refused: if notify-keyspace-events lacks AE, changes are not noticed\"");
        *by_space = false;
        return 0;
    }
    if (flags_do(flags, by_space))
        return 0;
    if (!s->node->source->stream->o->set_notifications) {
        fault_set(
            f, EXIT_CANNOT,
            "--follow needs keyspace notifications, and notify-keyspace-events is \"%s\": set it to AE, "
            "or give --set-notifications",
            flags);
        return -1;
    }
    if (set_flags(q, flags, f) < 0 || get_flags(q, flags, sizeof flags, f) < 0)
        return -1;
    if (flags_do(flags, by_space))
        return 0;
    fault_set(f, EXIT_CANNOT, "notify-keyspace-events stays \"%s\"", flags);
    return -1;
}

int scan_notes_open(struct scan_node *n, struct fault *f)
{
    struct inquiry q;
    if (n->server.dragonfly) {
        fault_set(
            f, EXIT_CANNOT,
            "a Dragonfly notifies of expiries only, so that changes cannot be followed: leave out --follow");
        return -1;
    }
    n->notes = xcalloc(1, sizeof *n->notes);
    n->notes->node = n;
    n->notes->conn.w.fd = -1;
    STAILQ_INIT(&n->notes->list);
    if (inquire_open(&q, &n->at, n->source->stream->o->connect_timeout * 1000, f) < 0)
        return -1;
    conn_keep_objects(&q.conn, REPLY_MAX);
    int rc = check_flags(n->notes, &q, f);
    inquire_close(&q);
    return rc;
}

/* ---- the connection ---- */

static void lose(struct scan_notes *s, const char *why)
{
    conn_close(&s->conn);
    s->state = NOTES_DOWN;
    s->next_at = mono_us() + AGAIN_WAIT;
    clear(s); /* the pass that follows reads them, too */
    if (!s->ever) {
        scan_node_lost(s->node, why);
        return;
    }
    log_event(LOG_WARN, (int)s->node->flow->id, "event=notifications_lost error=%s",
              log_quote(why, strlen(why)));
    scan_node_again(s->node, "notifications were lost");
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct scan_notes *s = w->ctx;
    if (conn_events(&s->conn, events) < 0)
        lose(s, errno != 0 ? strerror(errno) : "the server closed the connection");
}

static void subscribe(struct scan_notes *s, uint64_t now)
{
    struct fault f;
    const char *const request[] = {"PSUBSCRIBE", s->by_space ? "__keyspace@*__:*" : "__keyevent@*__:*"};
    s->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = s};
    if (conn_another(&s->conn, &s->node->source->stream->loop, &s->node->conn, &s->node->at, &f) < 0) {
        lose(s, f.text);
        return;
    }
    (void)conn_raw(&s->conn, NULL, 0);
    conn_in_reset(&s->in);
    s->state = NOTES_ASKED;
    s->heard_at = s->pinged_at = now;
    s->kind_len = 0;
    s->channel.len = s->payload.len = 0;
    if (conn_request(&s->conn, 2, request) < 0)
        lose(s, "the server closed the connection");
}

bool scan_notes_ready(const struct scan_node *n)
{
    return n->notes->state == NOTES_READY;
}

void scan_notes_close(struct scan_node *n)
{
    if (n->notes != NULL)
        conn_close(&n->notes->conn);
}

void scan_notes_free(struct scan_node *n)
{
    struct scan_notes *s = n->notes;
    if (s == NULL)
        return;
    conn_close(&s->conn);
    clear(s);
    conn_in_free(&s->in);
    buf_free(&s->channel);
    buf_free(&s->payload);
    free(s);
    n->notes = NULL;
}

/* ---- messages ---- */

/* "__keyevent@0__:set" and a key; "__keyspace@0__:key" and an event. */
static void take_message(struct scan_notes *s)
{
    static const char event[] = "__keyevent@", space[] = "__keyspace@";
    const char *p = (const char *)s->channel.p, *prefix = s->by_space ? space : event;
    size_t at = sizeof event - 1, len = s->channel.len;
    uint32_t db = 0;
    if (len <= at || memcmp(p, prefix, at) != 0)
        return;
    while (at < len && p[at] >= '0' && p[at] <= '9' && db < 1u << 20)
        db = db * 10 + (uint32_t)(p[at++] - '0');
    if (len - at < 3 || memcmp(p + at, "__:", 3) != 0)
        return;
    at += 3;
    if (s->by_space)
        add(s, db, p + at, len - at);
    else
        add(s, db, s->payload.p, s->payload.len);
}

static void take(struct scan_notes *s, const struct resp_token *t)
{
    if (t->type == '-') {
        char why[160];
        snprintf(why, sizeof why, "%.*s", (int)(t->len < 150 ? t->len : 150), t->text);
        lose(s, why);
        return;
    }
    if (t->type == 'b' && t->depth == 1 && t->index == 0) {
        for (size_t i = 0; i < t->len && s->kind_len < sizeof s->kind - 1; i++)
            s->kind[s->kind_len++] = t->text[i];
        s->kind[s->kind_len] = '\0';
    } else if (t->type == 'b' && t->depth == 1 && t->index >= 2) {
        struct buf *b = t->index == 2 ? &s->channel : &s->payload;
        b->max = 2 * KEY_NAME_MAX;
        (void)buf_add(b, t->text, t->len);
    }
    if (!t->end)
        return;
    if (strcmp(s->kind, "pmessage") == 0) {
        take_message(s);
    } else if (strcmp(s->kind, "psubscribe") == 0) {
        s->state = NOTES_READY;
        s->ever = true;
        log_event(LOG_INFO, (int)s->node->flow->id, "event=notifications_subscribed");
    }
    s->kind_len = 0;
    s->kind[0] = '\0';
    s->channel.len = s->payload.len = 0;
}

static bool read_messages(struct scan_notes *s)
{
    struct resp_token t;
    for (unsigned turn = 0; turn < 8 && s->conn.open; turn++) {
        enum resp_got got = RESP_NONE;
        while (s->conn.open && (got = conn_in_next(&s->in, &t)) == RESP_GOT)
            take(s, &t);
        if (!s->conn.open)
            return false;
        if (got >= RESP_BAD) {
            lose(s, "this is no RESP");
            return false;
        }
        int rc = conn_in_fill(&s->in, &s->conn);
        if (rc < 0)
            lose(s, errno != 0 ? strerror(errno) : "the server closed the connection");
        if (rc <= 0)
            return false;
        s->heard_at = mono_us();
    }
    return s->conn.open;
}

bool scan_notes_work(struct scan_node *n)
{
    struct scan_notes *s = n->notes;
    static const char *const ping[] = {"PING"};
    uint64_t now = mono_us();
    if (!n->conn.open)
        return false;
    if (!s->conn.open) {
        if (now >= s->next_at)
            subscribe(s, now);
        return false;
    }
    bool more = read_messages(s);
    if (s->conn.open && us_since(now, s->pinged_at) >= PING_EVERY) {
        s->pinged_at = now;
        if (conn_request(&s->conn, 1, ping) < 0)
            lose(s, "the server closed the connection");
    }
    if (s->conn.open && us_since(mono_us(), s->heard_at) >= SILENT_MAX)
        lose(s, "the server does not answer");
    return more;
}
