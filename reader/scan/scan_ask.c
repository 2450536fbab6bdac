/* What is asked of keys: their sizes first, then values and expiries, many at a time, as many bytes as
 * BYTES_ON_WAY. The value comes before the expiry: a key that is changed in between is carried over as one
 * that exists as long as the source's, with a value that it had a moment before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "io.h"
#include "log.h"
#include "scan_source.h"

#define BYTES_ON_WAY ((uint64_t)2 << 20)
#define SIZES_AHEAD  1024u
#define OUT_ENOUGH   ((size_t)32 << 10)
#define SIZE_UNKNOWN 256u /* what a value counts whose size is not told */
#define ELEMENT      64u  /* bytes that one counts, where only their number is known */

/* ---- requests ---- */

void scan_request(struct scan_node *n, enum scan_ask ask, int argc, const char *const *argv, int at,
                  const struct slice *key)
{
    struct buf *b = &n->conn.out;
    (void)resp_add_array(b, (uint64_t)argc);
    for (int i = 0; i < argc; i++)
        (void)(i == at && key != NULL ? resp_add_bulk(b, key->p, key->n) : resp_add_str(b, argv[i]));
    n->ask[n->asked++ & (ASKS - 1)] = (uint8_t)ask;
}

static void ask_one(struct scan_node *n, enum scan_ask ask, const char *command, const struct want *w)
{
    struct slice name = want_name(&n->wants, w);
    const char *const argv[] = {command, NULL};
    scan_request(n, ask, 2, argv, 1, &name);
}

static bool room(const struct scan_node *n)
{
    return n->asked - n->answered + 4 < ASKS && n->conn.out.len < OUT_ENOUGH;
}

static bool by_memory(const struct scan_node *n)
{
    return n->server.memory && n->server.dump;
}

/* Step at i: over what is no key. */
static struct want *next_key(struct scan_node *n, uint64_t *i, uint64_t end, bool lengths)
{
    struct wants *w = &n->wants;
    while (*i < end && (want_at(w, *i)->kind != WANT_KEY || (lengths && want_at(w, *i)->plain)))
        ++*i;
    return *i < end ? want_at(w, *i) : NULL;
}

static void ask_sizes(struct scan_node *n)
{
    struct wants *w = &n->wants;
    struct want *x;
    while (room(n) && w->size_asked < w->value_asked + SIZES_AHEAD &&
           (x = next_key(n, &w->size_asked, w->tail, false)) != NULL) {
        struct slice name = want_name(w, x);
        static const char *const memory[] = {"MEMORY", "USAGE", NULL};
        if (by_memory(n))
            scan_request(n, ASK_SIZE, 3, memory, 2, &name);
        else
            ask_one(n, ASK_TYPE, "TYPE", x);
        w->size_asked++;
    }
}

static void ask_lengths(struct scan_node *n)
{
    static const char *const commands[] = {
        [TYPE_STRING] = "STRLEN", [TYPE_LIST] = "LLEN", [TYPE_SET] = "SCARD",
        [TYPE_ZSET] = "ZCARD",    [TYPE_HASH] = "HLEN", [TYPE_STREAM] = "XLEN"};
    struct wants *w = &n->wants;
    struct want *x;
    while (!by_memory(n) && room(n) && (x = next_key(n, &w->length_asked, w->type_known, false)) != NULL) {
        x->plain = x->type >= TYPE_OTHER;
        if (!x->plain)
            ask_one(n, ASK_LENGTH, commands[x->type], x);
        w->length_asked++;
    }
}

/* Is the value read in parts? */
static bool is_large(const struct scan_node *n, const struct want *w)
{
    uint64_t limit = n->source->stream->o->scan_large;
    if (by_memory(n))
        return w->size > limit;
    if (w->type == TYPE_STREAM)
        return !n->server.dump || w->size * ELEMENT > limit;
    if (w->type == TYPE_HASH && !n->server.dump && n->server.field_ttl)
        return true;
    return w->type == TYPE_STRING ? w->size > limit : w->type < TYPE_STREAM && w->size * ELEMENT > limit;
}

static uint64_t bytes_of(const struct scan_node *n, const struct want *w)
{
    uint64_t size = by_memory(n) || w->type == TYPE_STRING ? w->size : w->size * ELEMENT;
    return size > 0 ? size : SIZE_UNKNOWN;
}

static void ask_value(struct scan_node *n, const struct want *w)
{
    static const char *const get[] = {"GET", NULL}, *const list[] = {"LRANGE", NULL, "0", "-1"};
    static const char *const set[] = {"SMEMBERS", NULL}, *const hash[] = {"HGETALL", NULL};
    static const char *const zset[] = {"ZRANGE", NULL, "0", "-1", "WITHSCORES"};
    static const struct {
        int argc;
        const char *const *argv;
    } commands[] = {[TYPE_STRING] = {2, get},
                    [TYPE_LIST] = {4, list},
                    [TYPE_SET] = {2, set},
                    [TYPE_ZSET] = {5, zset},
                    [TYPE_HASH] = {2, hash}};
    struct slice name = want_name(&n->wants, w);
    if (n->server.dump)
        ask_one(n, ASK_VALUE, "DUMP", w);
    else
        scan_request(n, ASK_VALUE, commands[w->type].argc, commands[w->type].argv, 1, &name);
    ask_one(n, ASK_TTL, n->server.expiretime ? "PEXPIRETIME" : "PTTL", w);
}

/* Is nothing to be asked, as it is not there, or cannot be read? */
static bool unreadable(const struct scan_node *n, const struct want *w)
{
    return w->type == TYPE_NONE || (w->type == TYPE_OTHER && !n->server.dump);
}

/* --scan-rate, --scan-bytes: none may be asked for before these times. */
static bool may_read(struct scan_source *s, uint64_t now)
{
    return now >= s->keys_at && now >= s->bytes_at;
}

static void spend(struct scan_source *s, uint64_t now, uint64_t bytes)
{
    const struct options *o = s->stream->o;
    if (o->scan_rate > 0)
        s->keys_at = (s->keys_at + US / 10 > now ? s->keys_at : now - US / 10) + US / o->scan_rate;
    if (o->scan_bytes > 0)
        s->bytes_at = (s->bytes_at + US / 10 > now ? s->bytes_at : now - US / 10) + bytes * US / o->scan_bytes;
}

static void ask_values(struct scan_node *n)
{
    struct wants *w = &n->wants;
    struct scan_source *s = n->source;
    bool limited = s->stream->o->scan_rate > 0 || s->stream->o->scan_bytes > 0;
    uint64_t now = limited ? mono_us() : 0;
    struct want *x;
    while (n->part == NULL && room(n) && (x = next_key(n, &w->value_asked, w->size_known, false)) != NULL) {
        uint64_t bytes = bytes_of(n, x);
        if (n->on_way > 0 && n->on_way + bytes > BYTES_ON_WAY)
            return;
        if (limited && !may_read(s, now))
            return;
        if (is_large(n, x) || unreadable(n, x)) { /* when it is at the head */
            x->large = !unreadable(n, x);
            if (w->value_asked != w->head)
                return;
            w->value_asked++;
            if (limited)
                spend(s, now, bytes);
            if (x->large)
                scan_part_begin(n);
            return;
        }
        ask_value(n, x);
        n->on_way += bytes;
        w->value_asked++;
        if (limited)
            spend(s, now, bytes);
    }
}

void scan_ask_whole(struct scan_node *n)
{
    struct want *w = want_at(&n->wants, n->wants.head);
    w->large = false;
    n->on_way += bytes_of(n, w);
    ask_value(n, w);
}

void scan_ask_keys(struct scan_node *n)
{
    ask_sizes(n);
    ask_lengths(n);
    ask_values(n);
    if (n->conn.out.len > 0 && conn_flush(&n->conn) < 0)
        scan_node_lost(n, "the server closed the connection");
}

/* ---- the key at the head ---- */

struct slice scan_name(const struct scan_node *n)
{
    return want_name(&n->wants, want_at(&n->wants, n->wants.head));
}

void scan_write_head(struct scan_node *n, const char *state, int type, int64_t length, int64_t expiry)
{
    static const char *const names[] = {
        [TYPE_STRING] = "string", [TYPE_LIST] = "list", [TYPE_SET] = "set",
        [TYPE_ZSET] = "zset",     [TYPE_HASH] = "hash", [TYPE_STREAM] = "commands",
        [TYPE_OTHER] = "after"};
    const struct want *w = want_at(&n->wants, n->wants.head);
    struct slice name = scan_name(n);
    bool value = strcmp(state, "value") == 0;
    key_out_begin(&n->out, n->flow->id, n->source->stream->info.epoch, now_us(),
                  &(struct key_head){.name = name.p,
                                     .len = name.n,
                                     .db = n->selected,
                                     .state = state,
                                     .error = n->error[0] != '\0' ? n->error : NULL,
                                     .elements = type > 0 ? names[type] : NULL,
                                     .length = length,
                                     .expire_ms = value && n->server.expiretime ? expiry : -1,
                                     .ttl_ms = value && !n->server.expiretime ? expiry : -1,
                                     .live = w->live || n->done});
}

void scan_pop(struct scan_node *n)
{
    const struct want *w = want_at(&n->wants, n->wants.head);
    if (w->kind == WANT_KEY) {
        n->read++;
        n->flow->moved_at = mono_us();
        n->flow->bytes += w->len + 1;
        if (!w->large && !unreadable(n, w))
            n->on_way -= bytes_of(n, w);
    }
    wants_pop(&n->wants);
    n->missing = false;
    n->error[0] = '\0';
    n->value.len = 0;
}

/* The rest of a value that lies in a file, as far as the output takes it. */
static void write_large(struct scan_node *n)
{
    struct output *out = &n->source->stream->out;
    while (spool_len(&n->large) > 0 && !output_full(out)) {
        size_t have;
        const uint8_t *p = spool_peek(&n->large, 1, &have);
        if (p == NULL) {
            scan_node_lost(n, "a temporary file cannot be read");
            return;
        }
        if (have > KEY_OUT_ENOUGH)
            have = KEY_OUT_ENOUGH;
        key_out_add(&n->out, p, have);
        spool_drop(&n->large, have);
        (void)key_out_flush(&n->out, out);
    }
    if (spool_len(&n->large) > 0)
        return;
    key_out_end(&n->out);
    spool_free(&n->large);
    n->in_large = n->writing = false;
    scan_pop(n);
}

static void drop_large(struct scan_node *n)
{
    if (n->in_large)
        spool_free(&n->large);
    n->in_large = false;
}

/* It has become another type since it was asked for that. */
static bool changed_type(struct scan_node *n)
{
    struct slice name = scan_name(n);
    if (strncmp(n->error, "WRONGTYPE", 9) != 0)
        return false;
    uint8_t *copy = xmalloc(name.n + 1);
    memcpy(copy, name.p, name.n);
    bool live = want_at(&n->wants, n->wants.head)->live;
    if (!wants_name(&n->wants, copy, name.n) || !wants_add(&n->wants, WANT_KEY, live))
        scan_node_lost(n, "more keys are to be read again than can be kept");
    free(copy);
    drop_large(n);
    if (n->conn.open)
        scan_pop(n);
    return true;
}

/* The key is all there, with its expiry: -1 none, -2 it is not there. */
static void write_key(struct scan_node *n, int64_t expiry)
{
    const struct want *w = want_at(&n->wants, n->wants.head);
    bool elements = !n->server.dump;
    if (changed_type(n))
        return;
    if (expiry == -2 || n->missing)
        n->missing = true;
    if (n->missing || n->error[0] != '\0') {
        scan_write_head(n, n->missing ? "missing" : "error", 0, -1, -1);
        key_out_end(&n->out);
        drop_large(n);
        scan_pop(n);
        return;
    }
    scan_write_head(n, "value", elements ? w->type : 0,
                    elements && w->type == TYPE_STRING
                        ? (int64_t)(n->in_large ? spool_len(&n->large) : n->value.len)
                        : -1,
                    expiry);
    n->flow->bytes += n->value.len;
    if (n->in_large) {
        n->writing = true;
        write_large(n);
        return;
    }
    key_out_add(&n->out, n->value.p, n->value.len);
    key_out_end(&n->out);
    scan_pop(n);
}

/* What is at the head and needs no reply. */
static bool settle(struct scan_node *n)
{
    struct wants *w = &n->wants;
    if (n->writing)
        write_large(n);
    while (!n->writing && wants_left(w) > 0 && n->part == NULL) {
        struct want *x = want_at(w, w->head);
        if (x->kind != WANT_KEY) {
            scan_node_write_place(n, x);
            scan_pop(n);
        } else if (w->value_asked > w->head && unreadable(n, x)) {
            n->missing = x->type == TYPE_NONE;
            if (!n->missing)
                strlcpy(n->error, "the source permits no DUMP, and values of this type have no other form",
                        sizeof n->error);
            write_key(n, -1);
        } else {
            break;
        }
    }
    return !n->writing;
}

/* ---- replies ---- */

static void take_error(struct scan_node *n, const struct resp_token *t)
{
    char text[160];
    snprintf(text, sizeof text, "%.*s", (int)(t->len < 150 ? t->len : 150), t->text);
    if (strncmp(text, "MOVED ", 6) == 0 || strncmp(text, "ASK ", 4) == 0) {
        scan_node_lost(n, "slots of the cluster move: what a node has is not known until they have");
        return;
    }
    if (n->error[0] == '\0')
        strlcpy(n->error, text, sizeof n->error);
}

static void put(struct scan_node *n, const void *p, size_t len)
{
    const struct options *o = n->source->stream->o;
    if (!n->in_large && n->value.len + len > VALUE_MEM) {
        spool_init(&n->large, VALUE_MEM, NULL, 0, o->spill_dir, o->spill_max);
        n->in_large = true;
        if (n->value.len > 0)
            (void)spool_put(&n->large, n->value.p, n->value.len, false);
        n->value.len = 0;
    }
    n->value.max = VALUE_MEM;
    if (n->error[0] == '\0' &&
        (n->in_large ? spool_put(&n->large, p, len, false) : buf_add(&n->value, p, len)) != 0)
        strlcpy(n->error, "the value exceeds --spill-max, or there is no room for it", sizeof n->error);
}

void scan_put_value(void *ctx, const void *p, size_t len)
{
    put(ctx, p, len);
}

static void take_value(struct scan_node *n, const struct resp_token *t)
{
    if (t->type == '-')
        take_error(n, t);
    else if (t->type == '$' && t->n < 0)
        n->missing = true;
    else if (!n->server.dump)
        encode_token(&n->encoder, want_at(&n->wants, n->wants.head)->type, t, t->index);
    else if (t->type == 'b')
        put(n, t->text, t->len);
}

static void take_size(struct scan_node *n, const struct resp_token *t, bool type)
{
    struct wants *w = &n->wants;
    struct want *x = next_key(n, type ? &w->type_known : &w->size_known, w->tail, !type && !by_memory(n));
    if (x == NULL)
        return;
    if (type) {
        x->type = (uint8_t)(t->type == '+' ? type_named(t->text, t->len) : TYPE_OTHER);
        w->type_known++;
    } else {
        x->size = t->type == ':' && t->n > 0 ? (uint64_t)t->n : 0;
        w->size_known++;
    }
}

static void skip_plain(struct scan_node *n)
{
    struct wants *w = &n->wants;
    (void)next_key(n, &w->size_known, by_memory(n) ? w->size_asked : w->length_asked, !by_memory(n));
}

/* The keys of a SCAN reply: [cursor, [key …]]. */
static void take_scan(struct scan_node *n, const struct resp_token *t)
{
    if (t->type == '-') {
        char why[200];
        snprintf(why, sizeof why, "SCAN: %.*s", (int)(t->len < 150 ? t->len : 150), t->text);
        scan_node_lost(n, why);
        return;
    }
    if (t->type == 'b' && t->depth == 1 && t->index == 0) {
        if (n->reply_cursor_len + t->len < sizeof n->reply_cursor) {
            memcpy(n->reply_cursor + n->reply_cursor_len, t->text, t->len);
            n->reply_cursor_len += t->len;
        }
        n->reply_cursor[n->reply_cursor_len] = '\0';
    } else if (t->type == 'b' && t->depth == 2) {
        if (!wants_name(&n->wants, t->text, t->len) ||
            (t->whole && !wants_add(&n->wants, WANT_KEY, false)))
            scan_node_lost(n, "a SCAN reply with more keys, or longer ones, than can be kept");
        else if (t->whole)
            n->since_place++;
    }
    if (t->end && n->conn.open)
        scan_node_page(n);
}

static void take(struct scan_node *n, const struct resp_token *t)
{
    enum scan_ask ask = n->ask[n->answered & (ASKS - 1)];
    if (t->end)
        n->answered++;
    switch (ask) {
    case ASK_OK:
        if (t->type == '-') {
            char why[200];
            snprintf(why, sizeof why, "%.*s", (int)(t->len < 150 ? t->len : 150), t->text);
            scan_node_lost(n, why);
        }
        return;
    case ASK_PERHAPS: return;
    case ASK_SCAN: take_scan(n, t); return;
    case ASK_SIZE: take_size(n, t, false); return;
    case ASK_TYPE: take_size(n, t, true); return;
    case ASK_LENGTH: take_size(n, t, false); return;
    case ASK_VALUE: take_value(n, t); return;
    case ASK_TTL:
        if (t->type == '-')
            take_error(n, t);
        if (n->conn.open)
            write_key(n, t->type == ':' ? t->n : -1);
        return;
    case ASK_NODES: scan_node_nodes(n, t); return;
    case ASK_PART: scan_part_token(n, t); return;
    }
}

bool scan_take(struct scan_node *n)
{
    struct output *out = &n->source->stream->out;
    struct resp_token t;
    for (;;) {
        if (key_out_enough(&n->out))
            (void)key_out_flush(&n->out, out);
        if (!n->conn.open || output_full(out) || !settle(n))
            return false;
        skip_plain(n);
        enum resp_got got = resp_next(&n->in, &t);
        if (got == RESP_BAD || (got == RESP_GOT && n->asked == n->answered)) {
            scan_node_lost(n, "the server answered something that is no reply to its request");
            return false;
        }
        if (got == RESP_NONE)
            return true;
        take(n, &t);
    }
}
