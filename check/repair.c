#include "repair.h"

#include <string.h>
#include <unistd.h>

#include "crc64.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"
#include "side_ask.h"
#include "stage.h"

#define FOOTER      10u
#define RDB_VERSION 6u /* in footers: any server takes it, and looks at nothing but the types then */

/* ---- who else writes ---- */

void repair_may_begin(struct side *target)
{
    static const char ours[] = " name=df2redis:";
    for (unsigned i = 0; i < target->nodes; i++) {
        const struct reply *r = MUST(target, side_lister(target, i), "CLIENT", "LIST");
        if (memmem(elem_text(r, &r->e[0]), r->e[0].kept, ours, sizeof ours - 1) != NULL)
            fatal(EXIT_CANNOT, "target %s: a task of df2redis writes to it: stop the task, then repair",
                  target->shown);
    }
}

/* ---- the last step of a key ---- */

/* Kept in b->value.ctx, which is unused during a repair. */
static struct repair *counts(const struct batch *b)
{
    return b->value.ctx;
}

static void refused(struct batch *b, const struct item *it, const char *why, size_t n)
{
    counts(b)->refused++;
    log_event(LOG_WARN, NO_FLOW, "event=not_repaired db=%u key=%s error=%s", b->db[1],
              log_quote(item_key(b, it, 1), it->len[1]), log_quote(why, n));
}

static void refused_str(struct batch *b, const struct item *it, const char *why)
{
    refused(b, it, why, strlen(why));
}

static void leave_to_pipeline(struct batch *b, const struct item *it)
{
    counts(b)->rest++;
    named_add(&counts(b)->named, b->db[0], (struct slice){item_key(b, it, 0), it->len[0]});
}

/* RESTORE says OK, DEL a number. */
static void got_written(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    const struct elem *e = &r->e[0];
    if (e->type == REPLY_ERROR && b->item[tag].print == REPAIR_COPY)
        leave_to_pipeline(b, &b->item[tag]);
    else if (e->type == REPLY_ERROR)
        refused(b, &b->item[tag], (const char *)elem_text(r, e), e->kept);
    else if (e->type == REPLY_INT)
        counts(b)->removed += e->n > 0;
    else
        counts(b)->copied++;
    batch_came(b);
}

/* ---- copying ---- */

/* The payload with a footer that the target takes. */
static void restore(struct batch *b, unsigned k, const uint8_t *payload, size_t n)
{
    struct item *it = &b->item[k];
    bool absolute = b->side[0]->has_pexpiretime && it->side[0].ttl >= 0;
    struct link *l = batch_request(b, it, 1, "RESTORE", absolute ? 6 : 5);
    uint8_t footer[FOOTER] = {RDB_VERSION, 0};
    struct buf whole = {.max = KEPT_MOST + FOOTER};
    link_num(l, it->side[0].ttl < 0 ? 0 : it->side[0].ttl == 0 ? 1 : it->side[0].ttl); /* 0: none */
    if (buf_add(&whole, payload, n - FOOTER) < 0 || buf_add(&whole, footer, 2) < 0)
        fatal(EXIT_CANNOT, "a payload is too long");
    uint64_t crc = crc64(0, whole.p, whole.len);
    (void)buf_add(&whole, &crc, sizeof crc);
    link_arg(l, whole.p, whole.len);
    link_str(l, "REPLACE");
    if (absolute)
        link_str(l, "ABSTTL");
    buf_free(&whole);
    batch_await(b);
    link_ask(l, KEEP_ALL, got_written, b, k);
    link_flush(l);
}

/* ms since the epoch; -1 never. */
static int64_t expires(const struct batch *b, const struct item *it)
{
    int64_t ttl = it->side[0].ttl;
    return ttl < 0 || b->side[0]->has_pexpiretime ? ttl : (int64_t)(now_us() / 1000) + ttl;
}

static void save(struct batch *b, const struct item *it, const uint8_t *payload, size_t n)
{
    snapshot_key(counts(b)->to, b->db[1], expires(b, it), item_key(b, it, 1), it->len[1], payload, n);
    counts(b)->copied++;
}

static void got_payload(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct item *it = &b->item[tag];
    const struct elem *e = &r->e[0];
    if (e->type == REPLY_ERROR)
        refused(b, it, (const char *)elem_text(r, e), e->kept);
    else if (e->type == REPLY_TEXT && (!elem_whole(e) || e->n <= FOOTER) && counts(b)->to == NULL)
        leave_to_pipeline(b, it);
    else if (e->type == REPLY_TEXT && (!elem_whole(e) || e->n <= FOOTER))
        refused_str(b, it, "its value is larger than 1 MiB");
    else if (e->type == REPLY_TEXT && counts(b)->to != NULL)
        save(b, it, elem_text(r, e), e->kept);
    else if (e->type == REPLY_TEXT)
        restore(b, tag, elem_text(r, e), e->kept);
    batch_came(b);
}

static void copy(struct batch *b, unsigned k)
{
    struct item *it = &b->item[k];
    if (it->side[0].ttl == -2) /* it has gone */
        return;
    struct link *l = batch_request(b, it, 0, "DUMP", 2);
    batch_await(b);
    link_ask(l, KEEP_SMALL, got_payload, b, k);
}

static void take_away(struct batch *b, unsigned k)
{
    struct item *it = &b->item[k];
    if (it->side[0].type != VALUE_NONE)
        return;
    struct link *l = batch_request(b, it, 1, "DEL", 2);
    batch_await(b);
    link_ask(l, KEEP_ALL, got_written, b, k);
}

void repair_rest(struct repair *r, const struct side *source, const struct side *target,
                 const struct filter *f)
{
    if (r->rest == 0)
        return;
    int fd = named_end(&r->named), status = stage_copy(source->o, target->o, f, fd);
    close(fd);
    if (status == EXIT_DONE)
        r->copied += r->rest;
    else {
        r->refused += r->rest;
        log_event(LOG_WARN, NO_FLOW, "event=not_repaired keys=%llu status=%d error=%s",
                  (unsigned long long)r->rest, status, "\"dfreader | dfparse | rediswriter failed\"");
    }
    r->rest = 0;
}

/* ---- what the source has now ---- */

static void finish(struct batch *b)
{
    b->done(b->done_ctx, b);
}

static void write_all(struct batch *b)
{
    b->next = finish;
    batch_await(b);
    for (unsigned k = 0; k < b->n; k++) {
        if (b->item[k].print == REPAIR_NOT)
            continue;
        if (!b->has_db[1] && counts(b)->to == NULL)
            refused_str(b, &b->item[k], "the target has no such database");
        else if (b->item[k].print == REPAIR_REMOVE)
            take_away(b, k);
        else if (b->has_db[0])
            copy(b, k);
    }
    batch_came(b);
}

static void got_state(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct item *it = &b->item[tag];
    if (r->e[0].type != REPLY_INT)
        batch_refused(b, it, 0, r);
    it->side[0].ttl = (int64_t)r->e[0].n;
    it->side[0].type = r->e[0].n > 0 ? VALUE_OTHER : VALUE_NONE;
    batch_came(b);
}

void repair_batch(struct batch *b, struct repair *r)
{
    const char *ttl = b->side[0]->has_pexpiretime ? "PEXPIRETIME" : "PTTL";
    b->value.ctx = r;
    b->due = 0;
    b->next = write_all;
    batch_await(b);
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        it->side[0].type = VALUE_NONE;
        if (!b->has_db[0] || it->print == REPAIR_NOT)
            continue;
        struct link *l = batch_request(b, it, 0, it->print == REPAIR_REMOVE ? "EXISTS" : ttl, 2);
        batch_await(b);
        link_ask(l, KEEP_ALL, got_state, b, k);
    }
    batch_came(b);
}
