/* Large values, a part at a time: HSCAN, SSCAN, ZSCAN, LRANGE, GETRANGE, XRANGE. Nothing else is asked of
 * values meanwhile; a part goes to the output as it comes in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "io.h"
#include "log.h"
#include "scan_part.h"

#define STREAM_DUMP ((uint64_t)64 << 20) /* DUMP is the only exact copy of a stream */
#define PIECE       ((uint64_t)256 << 10)
#define COUNT_MOST  1000u
#define TRIES       3u

/* ---- what is asked ---- */

static void ask(struct scan_part *p, enum part_step step, const char *command)
{
    const char *const argv[] = {command, NULL};
    part_ask(p, step, 2, argv);
}

static void ask_length(struct scan_part *p)
{
    struct scan_node *n = p->node;
    static const char *const commands[] = {
        [TYPE_STRING] = "STRLEN", [TYPE_LIST] = "LLEN", [TYPE_SET] = "SCARD",
        [TYPE_ZSET] = "ZCARD",    [TYPE_HASH] = "HLEN", [TYPE_STREAM] = "XLEN"};
    ask(p, PART_LENGTH, commands[n->part->type]);
}

static void ask_expiry(struct scan_part *p, enum part_step step)
{
    struct scan_node *n = p->node;
    ask(p, step, n->server.expiretime ? "PEXPIRETIME" : "PTTL");
}

/* Elements that come to about a piece. */
static unsigned count_of(const struct scan_part *p)
{
    const struct scan_node *n = p->node;
    uint64_t size = want_at(&n->wants, n->wants.head)->size;
    uint64_t each = p->length > 0 ? size / p->length : 0, count = PIECE / (each > 0 ? each : 64);
    if (!n->server.memory)
        count = COUNT_MOST / 2;
    return count < 1 ? 1 : count > COUNT_MOST ? COUNT_MOST : (unsigned)count;
}

static void ask_page(struct scan_part *p)
{
    char from[24], to[24], count[16];
    uint64_t step = p->type == TYPE_STRING ? PIECE : p->count;
    snprintf(from, sizeof from, "%llu", (unsigned long long)p->at);
    snprintf(to, sizeof to, "%llu", (unsigned long long)(p->at + step - 1));
    snprintf(count, sizeof count, "%u", p->count);
    const char *const range[] = {p->type == TYPE_STRING ? "GETRANGE" : "LRANGE", NULL, from, to};
    const char *const scan[] = {p->type == TYPE_SET    ? "SSCAN"
                                : p->type == TYPE_ZSET ? "ZSCAN"
                                                       : "HSCAN",
                                NULL, p->cursor, "COUNT", count};
    p->got = 0;
    p->cursor_len = 0;
    p->fields.len = p->nfields = 0;
    if (p->type == TYPE_STRING || p->type == TYPE_LIST)
        part_ask(p, PART_PAGE, 4, range);
    else
        part_ask(p, PART_PAGE, 5, scan);
}

/* Of the fields of the page: when they expire. */
static void ask_fields(struct scan_part *p)
{
    struct scan_node *n = p->node;
    struct slice name = scan_name(n);
    struct buf *b = &n->conn.out;
    (void)resp_add_array(b, 4 + p->nfields);
    (void)resp_add_str(b, "HPEXPIRETIME");
    (void)resp_add_bulk(b, name.p, name.n);
    (void)resp_add_str(b, "FIELDS");
    (void)resp_add_num(b, (int64_t)p->nfields);
    (void)buf_add(b, p->fields.p, p->fields.len);
    n->ask[n->asked++ & (ASKS - 1)] = ASK_PART;
    p->step = PART_FIELDS;
}

/* ---- what is written ---- */

static void part_end(struct scan_part *p)
{
    struct scan_node *n = p->node;
    scan_part_free(n);
    scan_pop(n);
}

/* Commands that follow the value: expiries of fields. */
static void write_later(struct scan_part *p)
{
    struct scan_node *n = p->node;
    struct output *out = &n->source->stream->out;
    if (spool_len(&p->later) == 0)
        return;
    scan_write_head(n, "value", TYPE_OTHER, -1, -1);
    while (spool_len(&p->later) > 0) {
        size_t have;
        const uint8_t *b = spool_peek(&p->later, 1, &have);
        if (b == NULL) {
            scan_node_lost(n, "a temporary file cannot be read");
            return;
        }
        have = have > KEY_OUT_ENOUGH ? KEY_OUT_ENOUGH : have;
        key_out_add(&n->out, b, have);
        spool_drop(&p->later, have);
        if (key_out_enough(&n->out))
            (void)key_out_flush(&n->out, out);
    }
    key_out_end(&n->out);
}

static void begin_value(struct scan_part *p)
{
    struct scan_node *n = p->node;
    scan_write_head(n, "value", (int)p->type, p->type == TYPE_STRING ? (int64_t)p->length : -1, p->expiry);
    p->begun = true;
    p->at = 0;
    strlcpy(p->cursor, "0", sizeof p->cursor);
    p->count = count_of(p);
    if (p->type == TYPE_STREAM)
        stream_begin(p);
    else
        ask_page(p);
}

/* It has changed while it was read, in a way that shows: from the beginning. */
static void try_again(struct scan_part *p, const char *why)
{
    struct scan_node *n = p->node;
    struct slice name = scan_name(n);
    if (p->begun) { /* a part of it is written, whatever the key is now */
        key_out_end(&n->out);
        want_at(&n->wants, n->wants.head)->live = true;
    }
    p->begun = false;
    n->error[0] = '\0';
    if (++p->tries < TRIES) {
        spool_free(&p->later);
        part_spool(p);
        ask(p, PART_TYPE, "TYPE");
        return;
    }
    log_event(LOG_WARN, (int)n->flow->id, "event=changed_while_read key=%s error=%s note=%s",
              log_quote(name.p, name.n), log_quote(why, strlen(why)),
              "\"it was carried over as it was at different moments\"");
    part_end(p);
}

static void no_value(struct scan_part *p, bool live)
{
    struct scan_node *n = p->node;
    struct want *w = want_at(&n->wants, n->wants.head);
    w->live |= live;
    scan_write_head(n, n->error[0] != '\0' ? "error" : "missing", 0, -1, -1);
    key_out_end(&n->out);
    part_end(p);
}

/* ---- replies ---- */

/* As any other key, from here on: it is read in one piece. */
static void read_whole(struct scan_part *p)
{
    struct scan_node *n = p->node;
    struct want *w = want_at(&n->wants, n->wants.head);
    w->large = false;
    w->whole = true;
    w->longer = w->type == TYPE_STRING;
    n->wants.value_asked--;
    scan_part_free(n);
}

static void routed(struct scan_part *p)
{
    struct scan_node *n = p->node;
    struct want *w = want_at(&n->wants, n->wants.head);
    bool whole =
        p->type == TYPE_OTHER || (p->type == TYPE_STREAM && n->server.memory && w->size <= STREAM_DUMP);
    w->type = (uint8_t)p->type;
    if (p->type == TYPE_NONE) {
        no_value(p, false);
    } else if (whole && n->server.dump) {
        read_whole(p);
    } else if (p->type == TYPE_OTHER) {
        strlcpy(n->error, "the source permits no DUMP, and values of this type have no other form",
                sizeof n->error);
        no_value(p, false);
    } else {
        ask_expiry(p, PART_EXPIRY);
    }
}

static void page_ended(struct scan_part *p)
{
    struct scan_node *n = p->node;
    bool by_range = p->type == TYPE_STRING || p->type == TYPE_LIST;
    uint64_t step = p->type == TYPE_STRING ? PIECE : p->count;
    p->at += p->got;
    n->flow->moved_at = mono_us();
    n->flow->bytes += p->got;
    if (p->type == TYPE_HASH && n->server.field_ttl && p->nfields > 0) {
        ask_fields(p);
        return;
    }
    bool end = by_range ? p->got < step : strcmp(p->cursor, "0") == 0;
    if (!end) {
        ask_page(p);
        return;
    }
    if (p->type == TYPE_STRING && p->at != p->length) {
        try_again(p, "its length has changed");
        return;
    }
    key_out_end(&n->out);
    p->begun = false;
    write_later(p);
    if (n->conn.open)
        ask_expiry(p, PART_THERE);
}

static void take_number(struct scan_part *p, const struct resp_token *t)
{
    struct scan_node *n = p->node;
    if (t->type != ':') {
        scan_node_lost(n, "an integer was expected of a key's length or expiry");
        return;
    }
    switch (p->step) {
    case PART_EXPIRY:
        p->expiry = t->n;
        if (t->n == -2)
            no_value(p, false);
        else
            ask_length(p);
        return;
    case PART_LENGTH:
        p->length = t->n > 0 ? (uint64_t)t->n : 0;
        if (p->type == TYPE_STRING && p->length == 0)
            read_whole(p); /* by GET: STRLEN and GETRANGE do not tell an empty string from none */
        else
            begin_value(p);
        return;
    default: /* PART_THERE */
        if (t->n == -2)
            no_value(p, true);
        else
            part_end(p);
    }
}

static void take_page(struct scan_part *p, const struct resp_token *t)
{
    struct scan_node *n = p->node;
    bool scans = p->type != TYPE_STRING && p->type != TYPE_LIST;
    if (scans && t->depth == 1 && t->index == 0 && t->type == 'b') {
        size_t room = sizeof p->cursor - 1 - p->cursor_len, len = t->len < room ? t->len : room;
        memcpy(p->cursor + p->cursor_len, t->text, len);
        p->cursor_len += len;
        p->cursor[p->cursor_len] = '\0';
    } else if (t->depth == (p->type == TYPE_STRING ? 0 : scans ? 2u : 1u)) {
        encode_token(&p->encoder, p->type, t, t->index);
        if (p->type == TYPE_STRING && t->type == 'b')
            p->got += t->len;
        else if (p->type != TYPE_STRING && t->type == 'b' && t->whole)
            p->got++;
        if (p->type == TYPE_HASH && n->server.field_ttl && t->index % 2 == 0)
            part_keep(p, t);
    }
    if (t->end && n->conn.open)
        page_ended(p);
}

/* HPEXPIREAT key ms FIELDS 1 field, for each that has one. */
static void field_expires(struct scan_part *p, size_t at, size_t len, int64_t ms)
{
    struct scan_node *n = p->node;
    struct slice name = scan_name(n);
    struct buf b = {.max = 4 * KEY_NAME_MAX};
    (void)resp_add_array(&b, 6);
    (void)resp_add_str(&b, "HPEXPIREAT");
    (void)resp_add_bulk(&b, name.p, name.n);
    (void)resp_add_num(&b, ms);
    (void)resp_add_str(&b, "FIELDS");
    (void)resp_add_str(&b, "1");
    (void)buf_add(&b, p->fields.p + at, len);
    if (spool_put(&p->later, b.p, b.len, false) != 0)
        scan_node_lost(n, "expiries of fields exceed --spill-max");
    buf_free(&b);
}

static void take_fields(struct scan_part *p, const struct resp_token *t)
{
    struct scan_node *n = p->node;
    if (t->type == '*')
        p->field_at = 0;
    if (t->type == ':' && t->depth == 1 && p->field_at < p->fields.len) {
        const uint8_t *at = p->fields.p + p->field_at;
        size_t head = (size_t)((const uint8_t *)memchr(at, '\n', p->fields.len - p->field_at) - at) + 1;
        size_t len = head + (size_t)strtoull((const char *)at + 1, NULL, 10) + 2;
        if (t->n > 0)
            field_expires(p, p->field_at, len, t->n);
        p->field_at += len;
    }
    if (t->end && n->conn.open) {
        p->nfields = 0;
        p->got = 0;
        page_ended(p);
    }
}

static void part_done(struct scan_part *p)
{
    struct scan_node *n = p->node;
    key_out_end(&n->out);
    n->part->begun = false;
    ask_expiry(p, PART_THERE);
}

void scan_part_token(struct scan_node *n, const struct resp_token *t)
{
    struct scan_part *p = n->part;
    char text[160];
    if (p == NULL)
        return;
    if (t->type == '-') {
        snprintf(text, sizeof text, "%.*s", (int)(t->len < 150 ? t->len : 150), t->text);
        if (strncmp(text, "WRONGTYPE", 9) == 0 || strncmp(text, "NOGROUP", 7) == 0 ||
            strncmp(text, "ERR no such key", 15) == 0)
            try_again(p, text);
        else
            scan_node_lost(n, text);
        return;
    }
    switch (p->step) {
    case PART_TYPE:
        p->type = type_named(t->text, t->len);
        routed(p);
        return;
    case PART_EXPIRY:
    case PART_LENGTH:
    case PART_THERE: take_number(p, t); return;
    case PART_PAGE: take_page(p, t); return;
    case PART_FIELDS: take_fields(p, t); return;
    default:
        if (stream_token(p, t))
            part_done(p);
    }
}

/* ---- all ---- */

void scan_part_begin(struct scan_node *n)
{
    struct scan_part *p = xcalloc(1, sizeof *p);
    n->part = p;
    p->node = n;
    p->encoder = (struct encoder){.put = part_put, .ctx = p};
    p->fields.max = (size_t)256 << 20;
    part_spool(p);
    ask(p, PART_TYPE, "TYPE");
}

void scan_part_free(struct scan_node *n)
{
    struct scan_part *p = n->part;
    if (p == NULL)
        return;
    spool_free(&p->later);
    buf_free(&p->fields);
    buf_free(&p->names);
    free(p);
    n->part = NULL;
}
