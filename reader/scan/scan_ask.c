/* What is asked of keys: their types, the sizes of those that are no strings, values and expiries, many keys
 * at a time, about as many bytes as BYTES_ON_WAY. Of a string its beginning is asked for: most are not
 * longer. The value comes before the expiry: a key that is changed in between is carried over as one that
 * exists as long as the source's, with a value that it had a moment before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "io.h"
#include "log.h"
#include "scan_source.h"

#define BYTES_ON_WAY ((uint64_t)2 << 20)
#define TYPES_AHEAD  1024u
#define OUT_ENOUGH   ((size_t)32 << 10)
#define SIZE_UNKNOWN 256u /* what a value counts whose size is not told */
#define STRING_PIECE 16384u
#define STRINGS      256u /* behind so many in a row the next key is taken for one, too */
#define ELEMENT      64u  /* bytes that one counts, where only their number is known */

/* ---- requests ---- */

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

enum over { OVER_PLACES, OVER_GUESSED, OVER_PLAIN };

/* Step at i: over what is no key, or a key of which this step asks nothing. */
static struct want *next_key(struct scan_node *n, uint64_t *i, uint64_t end, enum over over)
{
    struct wants *w = &n->wants;
    for (; *i < end; ++*i) {
        struct want *x = want_at(w, *i);
        if (x->kind == WANT_KEY && !(over == OVER_GUESSED && x->guessed) && !(over == OVER_PLAIN && x->plain))
            return x;
    }
    return NULL;
}

static void ask_types(struct scan_node *n)
{
    struct wants *w = &n->wants;
    struct want *x;
    while (room(n) && w->type_asked < w->value_asked + TYPES_AHEAD &&
           (x = next_key(n, &w->type_asked, w->tail, OVER_PLACES)) != NULL) {
        x->guessed = n->strings >= STRINGS && !x->again;
        if (x->guessed)
            x->type = TYPE_STRING;
        else
            ask_one(n, ASK_TYPE, "TYPE", x);
        w->type_asked++;
    }
}

static void ask_sizes(struct scan_node *n)
{
    static const char *const commands[] = {
        [TYPE_STRING] = "STRLEN", [TYPE_LIST] = "LLEN", [TYPE_SET] = "SCARD",
        [TYPE_ZSET] = "ZCARD",    [TYPE_HASH] = "HLEN", [TYPE_STREAM] = "XLEN"};
    static const char *const memory[] = {"MEMORY", "USAGE", NULL};
    struct wants *w = &n->wants;
    struct want *x;
    while (room(n) && (x = next_key(n, &w->size_asked, w->type_known, OVER_PLACES)) != NULL) {
        struct slice name = want_name(w, x);
        x->longer = x->type == TYPE_STRING && (x->longer || n->string_size > STRING_PIECE / 2);
        x->plain = (x->type == TYPE_STRING && !x->longer) || x->type == TYPE_NONE ||
                   (x->type == TYPE_OTHER && !n->server.memory);
        if (!x->plain && n->server.memory && x->type != TYPE_STRING)
            scan_request(n, ASK_SIZE, 3, memory, 2, &name);
        else if (!x->plain)
            ask_one(n, ASK_SIZE, commands[x->type], x);
        w->size_asked++;
    }
}

static uint64_t size_of(const struct scan_node *n, const struct want *w)
{
    return n->server.memory || w->type == TYPE_STRING ? w->size : w->size * ELEMENT;
}

/* Is the value read in parts? */
static bool is_large(const struct scan_node *n, const struct want *w)
{
    if ((w->type == TYPE_STRING && !w->longer) || w->type == TYPE_NONE)
        return false;
    if (w->whole)
        return false;
    if (!n->server.dump && (w->type == TYPE_STREAM || (w->type == TYPE_HASH && n->server.field_ttl)))
        return true;
    return size_of(n, w) > n->source->stream->o->scan_large;
}

static void ask_value(struct scan_node *n, const struct want *w)
{
    static const char *const get[] = {"GET", NULL}, *const string[] = {"GETRANGE", NULL, "0",
                                                                       "16383"}; /* STRING_PIECE */
    static const char *const list[] = {"LRANGE", NULL, "0", "-1"};
    static const char *const set[] = {"SMEMBERS", NULL}, *const hash[] = {"HGETALL", NULL};
    static const char *const zset[] = {"ZRANGE", NULL, "0", "-1", "WITHSCORES"};
    static const struct {
        int argc;
        const char *const *argv;
    } commands[] = {[TYPE_STRING] = {4, string},
                    [TYPE_LIST] = {4, list},
                    [TYPE_SET] = {2, set},
                    [TYPE_ZSET] = {5, zset},
                    [TYPE_HASH] = {2, hash}};
    struct slice name = want_name(&n->wants, w);
    if (n->server.dump && w->type != TYPE_STRING)
        ask_one(n, ASK_VALUE, "DUMP", w);
    else if (w->longer)
        scan_request(n, ASK_VALUE, 2, get, 1, &name);
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
        s->bytes_at =
            (s->bytes_at + US / 10 > now ? s->bytes_at : now - US / 10) + bytes * US / o->scan_bytes;
}

static void ask_values(struct scan_node *n)
{
    struct wants *w = &n->wants;
    struct scan_source *s = n->source;
    bool limited = s->stream->o->scan_rate > 0 || s->stream->o->scan_bytes > 0;
    uint64_t now = limited ? mono_us() : 0;
    struct want *x;
    while (n->part == NULL && room(n) &&
           (x = next_key(n, &w->value_asked, w->size_known, OVER_PLACES)) != NULL) {
        if (x->type == TYPE_STRING && !x->longer)
            x->size = n->string_size;
        uint64_t bytes = size_of(n, x) + SIZE_UNKNOWN;
        if (n->on_way > 0 && n->on_way + bytes > BYTES_ON_WAY)
            return;
        if (limited && !may_read(s, now))
            return;
        if (is_large(n, x) || unreadable(n, x)) { /* when it is at the head */
            x->large = is_large(n, x);
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
        x->on_way = bytes;
        n->on_way += bytes;
        w->value_asked++;
        if (limited)
            spend(s, now, bytes);
    }
}

void scan_ask_keys(struct scan_node *n)
{
    ask_types(n);
    ask_sizes(n);
    ask_values(n);
    if (n->conn.out.len > 0 && conn_flush(&n->conn) < 0)
        scan_node_lost(n, "the server closed the connection");
}

/* ---- the key at the head ---- */

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

/* The key at the head is read once more, behind those that are wanted so far: so are places that come behind
 * it, as a run that goes on there would not see it. */
static void read_later(struct scan_node *n, bool longer)
{
    struct wants *w = &n->wants;
    struct slice name = scan_name(n);
    uint8_t *copy = xmalloc(name.n + 1);
    bool live = want_at(w, w->head)->live, end = false;
    memcpy(copy, name.p, name.n);
    for (uint64_t i = w->head; i < w->tail; i++) {
        struct want *x = want_at(w, i);
        end |= x->kind == WANT_END;
        if (x->kind != WANT_KEY)
            x->kind = WANT_NOTHING;
    }
    bool kept = wants_name(w, copy, name.n) && wants_add(w, WANT_KEY, live);
    if (kept) {
        want_at(w, w->tail - 1)->longer = longer;
        want_at(w, w->tail - 1)->again = true;
    }
    if (kept && end)
        kept = wants_add(w, WANT_END, false);
    free(copy);
    drop_large(n);
    n->read--; /* it will be counted then */
    if (kept)
        scan_pop(n);
    else
        scan_node_lost(n, "more keys are to be read again than can be kept");
}

/* It has become another type since it was asked for that, or it is a string of which only the beginning came.
 */
static bool is_read_later(struct scan_node *n)
{
    const struct want *w = want_at(&n->wants, n->wants.head);
    bool changed = strncmp(n->error, "WRONGTYPE", 9) == 0;
    bool longer = w->type == TYPE_STRING && !w->longer && n->value.len == STRING_PIECE;
    uint64_t len = n->in_large ? spool_len(&n->large) : n->value.len;
    if (w->type == TYPE_STRING) /* what the next ones are taken for */
        n->string_size = (7 * n->string_size + len) / 8;
    n->strings = w->type == TYPE_STRING && !changed ? n->strings + 1 : 0;
    if (changed || longer)
        read_later(n, longer);
    return changed || longer;
}

/* The key is all there, with its expiry: -1 none, -2 it is not there. */
static void write_key(struct scan_node *n, int64_t expiry)
{
    const struct want *w = want_at(&n->wants, n->wants.head);
    bool elements = !n->server.dump || w->type == TYPE_STRING;
    if (expiry != -2 && is_read_later(n))
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
            if (x->kind != WANT_NOTHING)
                n->calls->place(n, x);
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

/* An error that says nothing of the key: the flow ends, and a later try may have an answer. */
static bool ends_flow(struct scan_node *n, const char *text)
{
    static const char *const words[] = {"BUSY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN "};
    bool passes = false, moved = strncmp(text, "MOVED ", 6) == 0 || strncmp(text, "ASK ", 4) == 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        passes |= strncmp(text, words[i], strlen(words[i])) == 0;
    if (moved)
        scan_node_lost(n, "slots of the cluster move: what a node has is not known until they have");
    else if (passes)
        scan_node_lost(n, text);
    return moved || passes;
}

static void take_error(struct scan_node *n, const struct resp_token *t)
{
    char text[160];
    snprintf(text, sizeof text, "%.*s", (int)(t->len < 150 ? t->len : 150), t->text);
    if (!ends_flow(n, text) && n->error[0] == '\0')
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
    else if (!n->server.dump || want_at(&n->wants, n->wants.head)->type == TYPE_STRING)
        encode_token(&n->encoder, want_at(&n->wants, n->wants.head)->type, t, t->index);
    else if (t->type == 'b')
        put(n, t->text, t->len);
}

static void take_size(struct scan_node *n, const struct resp_token *t, bool type)
{
    struct wants *w = &n->wants;
    struct want *x =
        next_key(n, type ? &w->type_known : &w->size_known, w->tail, type ? OVER_GUESSED : OVER_PLAIN);
    if (x == NULL)
        return;
    if (t->type == '-') {
        char text[160];
        snprintf(text, sizeof text, "%.*s", (int)(t->len < 150 ? t->len : 150), t->text);
        if (ends_flow(n, text))
            return;
    }
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
    (void)next_key(n, &w->type_known, w->type_asked, OVER_GUESSED);
    (void)next_key(n, &w->size_known, w->size_asked, OVER_PLAIN);
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
        if (!wants_name(&n->wants, t->text, t->len) || (t->whole && !wants_add(&n->wants, WANT_KEY, false)))
            scan_node_lost(n, "a SCAN reply with more keys, or longer ones, than can be kept");
        else if (t->whole)
            n->since_place++;
    }
    if (t->end && n->conn.open)
        n->calls->page(n);
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
    case ASK_VALUE: take_value(n, t); return;
    case ASK_TTL:
        if (t->type == '-')
            take_error(n, t);
        if (n->conn.open)
            write_key(n, t->type == ':' ? t->n : -1);
        return;
    case ASK_NODES: n->calls->nodes(n, t); return;
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
        enum resp_got got = conn_in_next(&n->in, &t);
        if (got >= RESP_BAD || (got == RESP_GOT && n->asked == n->answered)) {
            scan_node_lost(n, "the server answered something that is no reply to its request");
            return false;
        }
        if (got == RESP_NONE)
            return true;
        take(n, &t);
    }
}
