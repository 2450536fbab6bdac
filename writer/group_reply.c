/* Groups confirmed, or not. */
#include "group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "suspect.h"
#include "writer.h"

/* One request of it. */
static void count_item(struct writer *w, const struct item *it, uint64_t now)
{
    if (it->own || it->probe != 0)
        return;
    w->stats.requests++;
    if (it->vclass != 0)
        w->stats.keys[it->vclass]++;
    if (it->live) {
        w->stats.live++;
        if (w->session.live) /* a replayed record came to dfreader long ago */
            stats_latency(&w->stats, it->time, now);
    }
    guard_reply(w, it->ticket, SPLIT_OPEN);
}

static void committed(struct node *n, struct group *g)
{
    struct writer *w = n->w;
    uint64_t now = now_us();
    for (unsigned i = 0; i < g->n; i++)
        if (!g->item[i].out)
            count_item(w, &g->item[i], now);
    for (unsigned i = 0; i < g->npos; i++) {
        struct flowpos *f = &w->positions.flow[g->pos[i].flow];
        if (g->pos[i].seq > f->saved_seq)
            f->saved_seq = g->pos[i].seq;
    }
    for (unsigned i = 0; i < g->own; i++)
        positions_done(&w->positions, g->pos[i].flow, g->id);
    n->b.saved_at = mono_us();
    n->progress = true;
    if (g->n > 0)
        w->stats.groups++;
    if (g->barrier) {
        w->stats.barriers++;
        lanes_release(&w->lanes, g->scope);
    }
    n->b.flying = NULL;
    group_clear(n, g);
    node_succeeded(n);
}

static struct rec item_rec(const struct item *it)
{
    unsigned flags = (it->multikey ? RF_MULTIKEY : 0) | (it->ticket >= TICKET_FIRST ? RF_FIRST : 0);
    return (struct rec){.flow = it->flow,
                        .db = it->db,
                        .slot = REC_NO_SLOT,
                        .hash = hashset_hash(it->key, it->db),
                        .keyarg = it->keyarg,
                        .vclass = it->vclass,
                        .flags = (uint16_t)flags,
                        .time = it->time};
}

static void item_error(struct node *n, struct group *g, unsigned i, const char *text, size_t len)
{
    struct item *it = &g->item[i];
    if (it->probe != 0) {
        it->out = true;
        probe_refused(n->w, it->probe, text, len);
        return;
    }
    struct failure f = {.text = text,
                        .len = len,
                        .r = item_rec(it),
                        .request = g->big != NULL ? g->big->mem.p : g->req.p + it->off,
                        .n = g->big != NULL ? g->big->mem.len : it->len,
                        .big = g->big,
                        .gone = g->barrier,
                        .split = it->ticket >= TICKET_FIRST};
    it->out = true;
    guard_reply(n->w, it->ticket, SPLIT_FAILED);
    writer_data_error(n->w, &f);
}

/* A request of --on-existing skip or fail found its key. */
static void item_there(struct node *n, struct group *g, unsigned i)
{
    struct item *it = &g->item[i];
    struct rec r = item_rec(it);
    it->out = true;
    guard_reply(n->w, it->ticket, SPLIT_THERE);
    if (g->big != NULL)
        guard_there(n->w, &r, g->big->mem.p, g->big->mem.len);
    else
        guard_there(n->w, &r, g->req.p + it->off, it->len);
}

/* What stands at a place in the reply to EXEC; false: this is no such reply, or none that counts. */
static bool exec_command(const struct node *n, int element, int32_t *cmd)
{
    const struct groups *b = &n->b;
    if (b->flying == NULL || b->resend || b->replied != b->ncmd + 1 || element < 0 ||
        (unsigned)element >= b->ncmd || n->un == 0 || n->unit[n->uhead].kind != U_GROUP)
        return false;
    *cmd = b->cmd[element];
    return true;
}

static bool is_probe(const struct group *g, int32_t cmd)
{
    return cmd >= 0 && g->item[cmd].probe != 0;
}

/* Whatever the position key says of the transaction, this request does not count. */
static void mark_odd(struct node *n, int32_t cmd)
{
    n->b.strange = true;
    if (cmd >= 0)
        n->b.flying->item[cmd].odd = true;
}

/* Whether a key that was looked for is there. How many fields the position key got that it did not have; all
 * of them: the key had vanished. */
static void exec_integer(struct node *n, int32_t cmd, long long value)
{
    if (is_probe(n->b.flying, cmd))
        probe_answer(n->w, n->b.flying->item[cmd].probe, value);
    if (cmd != CMD_HSET)
        return;
    const struct group *g = n->b.flying;
    if (g->barrier || value <= (long long)group_flows(n, g))
        return;
    watch_vanished(n->w, NULL,
                   "the position key had vanished: somebody flushed the target or removed the key");
}

void group_exec_reply(struct node *n, int element, int type, long long number)
{
    int32_t cmd;
    if (!exec_command(n, element, &cmd))
        return;
    if (type == REDIS_REPLY_INTEGER)
        exec_integer(n, cmd, number);
    struct group *g = n->b.flying;
    if (cmd < 0) {
        n->b.strange |= type != (cmd == CMD_HSET ? REDIS_REPLY_INTEGER : REDIS_REPLY_STATUS);
        return;
    }
    const struct item *it = &g->item[cmd];
    if (type == REDIS_REPLY_NIL && it->ticket != TICKET_NONE)
        item_there(n, g, (unsigned)cmd);
    else if (!(g->big != NULL ? reply_fits(g->big->mem.p, g->big->mem.len, type)
                              : reply_fits(g->req.p + it->off, it->len, type)))
        mark_odd(n, cmd);
}

/* A reply inside EXEC's. It was executed, so even a refusal that would pass cannot be mended by sending it
 * again. */
void group_exec_error(struct node *n, int element, const char *text, size_t len)
{
    int32_t cmd;
    if (!exec_command(n, element, &cmd))
        return;
    struct group *g = n->b.flying;
    enum err_class class = error_class(text, len);
    if (is_probe(g, cmd) && class == ERR_FATAL) {
        item_error(n, g, (unsigned)cmd, text, len);
    } else if (class == ERR_FATAL) {
        if (cmd >= 0) /* rights that a script lacks: the position behind it is saved, so it has to be named */
            item_error(n, g, (unsigned)cmd, text, len);
        node_fatal(n, "target_refuses", text, len);
    } else if (cmd >= 0 && class == ERR_CONFLICT && g->item[cmd].ticket != TICKET_NONE)
        item_there(n, g, (unsigned)cmd);
    else if (cmd >= 0)
        item_error(n, g, (unsigned)cmd, text, len);
    else if (cmd == CMD_HSET)
        node_fatal(n, "position_not_written", text, len);
    else
        node_fatal(n, "select_failed_in_group", text, len);
}

/* What a command of a group is, for messages. */
static struct named item_named(const struct group *g, int32_t cmd)
{
    if (cmd < 0)
        return (struct named){.request = NULL};
    const struct item *it = &g->item[cmd];
    if (g->big != NULL)
        return (struct named){g->big->mem.p, g->big->mem.len, it->keyarg, g->big->size};
    return (struct named){g->req.p + it->off, it->len, it->keyarg, it->len};
}

static void queued_error(struct node *n, int32_t cmd)
{
    struct groups *b = &n->b;
    struct fault f = {.cmd = cmd, .len = (uint32_t)n->wire.errlen};
    if (error_class(n->wire.err, n->wire.errlen) == ERR_RETRY) {
        b->retry = true;
        struct named what = item_named(b->flying, cmd);
        node_refused(n, &what, n->wire.err, n->wire.errlen);
        return;
    }
    if (error_class(n->wire.err, n->wire.errlen) == ERR_FATAL &&
        !is_probe(b->flying, cmd)) { /* the connection may be closed before EXEC is answered */
        node_fatal(n, "target_refuses", n->wire.err, n->wire.errlen);
        b->broken = true;
        return;
    }
    if (buf_add(&b->faults, &f, sizeof f) < 0 || buf_add(&b->faults, n->wire.err, n->wire.errlen) < 0)
        b->broken = true;
}

/* Take the requests out that were refused for good when they were queued. */
static void take_out(struct node *n, struct group *g)
{
    struct groups *b = &n->b;
    for (size_t at = 0; at + sizeof(struct fault) <= b->faults.len;) {
        struct fault f;
        memcpy(&f, b->faults.p + at, sizeof f);
        const char *text = (const char *)b->faults.p + at + sizeof f;
        at += sizeof f + f.len;
        enum err_class class = error_class(text, f.len);
        if (f.cmd < 0 || (class == ERR_FATAL && !is_probe(g, f.cmd)) || class == ERR_REDIRECT)
            node_fatal(n, "target_refuses", text, f.len);
        else
            item_error(n, g, (unsigned)f.cmd, text, f.len);
    }
}

static void aborted(struct node *n, struct group *g)
{
    struct groups *b = &n->b;
    bool named = error_class(n->wire.err, n->wire.errlen) == ERR_RETRY;
    if (named) {
        struct named what = item_named(g, b->ncmd > 0 ? b->cmd[0] : -1);
        node_refused(n, &what, n->wire.err, n->wire.errlen);
    }
    b->resend = true;
    if (named || b->retry) {
        n->w->stats.retries++;
        return;
    }
    if (b->faults.len == 0) {
        node_fatal(n, "group_aborted", n->wire.err, n->wire.errlen);
        return;
    }
    take_out(n, g);
}

static void pop_unit(struct node *n)
{
    uint32_t len = n->unit[n->uhead].len;
    n->uhead = (n->uhead + 1) & (UNITS_MAX - 1);
    n->un--;
    ring_ack(&n->wire.ring, len);
}

/* One request of a group was executed, with its position. The others follow. */
static void stepped(struct node *n, struct group *g)
{
    struct item *it = &g->item[n->b.step];
    struct flowpos *f = &n->w->positions.flow[it->flow];
    if (!it->out)
        count_item(n->w, it, now_us());
    it->out = true;
    if (!it->own && it->seq > f->saved_seq)
        f->saved_seq = it->seq;
    n->b.resend = n->progress = true;
    n->w->stats.groups++;
    node_succeeded(n);
}

void group_give_up(struct node *n, const char *text, size_t len)
{
    struct group *g = n->b.flying;
    for (unsigned i = 0; g != NULL && i < g->n; i++)
        if (!g->item[i].out) {
            item_error(n, g, i, text, len);
            return;
        }
}

int group_applied(const struct node *n, const uint64_t *seq)
{
    const struct group *g = n->b.flying;
    if (g == NULL || g->n == 0)
        return 0;
    if (n->b.step >= 0 && !n->b.resend) {
        const struct item *it = &g->item[n->b.step];
        return !it->own && seq[it->flow] >= it->seq;
    }
    unsigned yes = 0, all = 0;
    for (unsigned i = 0; i < g->own; i++) { /* what steps of it have saved tells nothing */
        bool open = n->w->positions.flow[g->pos[i].flow].saved_seq < g->pos[i].seq;
        all += open;
        yes += open && seq[g->pos[i].flow] >= g->pos[i].seq;
    }
    return yes == 0 ? 0 : yes == all ? 1 : -1;
}

static bool is_status(const struct node *n, const char *text)
{
    return n->wire.reply_type == REDIS_REPLY_STATUS && strcmp(n->wire.err, text) == 0;
}

void group_reply(struct node *n)
{
    struct groups *b = &n->b;
    struct group *g = b->flying;
    bool error = n->wire.reply_type == REDIS_REPLY_ERROR;
    unsigned i = b->replied++;
    if (i == 0) {
        if (error) {
            b->broken = true;
            node_fatal(n, "multi_refused", n->wire.err, n->wire.errlen);
        } else if (!is_status(n, "OK")) {
            node_lose(n, "unexpected reply to MULTI");
        }
        return;
    }
    if (i <= b->ncmd) {
        if (error)
            queued_error(n, b->cmd[i - 1]);
        else if (!is_status(n, "QUEUED")) {
            mark_odd(n, b->cmd[i - 1]);
            node_lose(n, "unexpected reply within MULTI");
        }
        return;
    }
    pop_unit(n);
    if (b->broken || n->dead) {
        b->resend = true; /* the writer has failed: it stays unconfirmed */
    } else if (n->wire.reply_type == REDIS_REPLY_ARRAY && n->wire.reply_elements == (int)b->ncmd &&
               !b->strange) {
        suspect_cleared(n);
        if (b->step >= 0)
            stepped(n, g);
        else
            committed(n, g);
    } else if (error && error_is_execabort(n->wire.err, n->wire.errlen)) {
        aborted(n, g);
    } else {
        /* Older servers leave a refused EXEC's transaction open: a new connection knows where it stands. */
        b->resend = true;
        node_lose(n, "unexpected reply to EXEC: %s",
                  error                                     ? log_quote(n->wire.err, n->wire.errlen)
                  : n->wire.reply_type != REDIS_REPLY_ARRAY ? "no array"
                  : n->wire.reply_elements != (int)b->ncmd  ? "another number of replies"
                                                            : "a reply that its request cannot get");
    }
}

/* A group was executed, and its replies are lost. Returns how many of its requests have to be sent again:
 * those that only ask whether a key is there. */
static unsigned settle_items(struct node *n, struct group *g)
{
    struct writer *w = n->w;
    uint64_t now = now_us();
    unsigned left = 0;
    for (unsigned i = 0; i < g->n; i++) {
        struct item *it = &g->item[i];
        if (it->out)
            continue;
        if (it->odd) {
            item_error(n, g, i, ODD_REPLY, sizeof ODD_REPLY - 1);
            continue;
        }
        if (it->ticket >= TICKET_FIRST) {
            left++;
            continue;
        }
        if (it->ticket == TICKET_WHOLE && w->opt.on_existing == EXISTING_FAIL)
            guard_unsure(w, it->flow, g->big != NULL ? g->big->mem.p : g->req.p + it->off,
                         g->big != NULL ? g->big->mem.len : it->len, it->keyarg);
        count_item(w, it, now);
        w->stats.uncertain += !it->own && it->probe == 0;
        it->out = true;
    }
    return left;
}

void group_settle(struct node *n, bool applied)
{
    struct group *g = n->b.flying;
    if (g == NULL)
        return;
    if (g->n == 0) { /* positions only: they are written again when due */
        n->b.dirty = true;
        n->b.flying = NULL;
        group_clear(n, g);
        return;
    }
    if (!applied) {
        n->b.resend = true;
        n->w->stats.retries++;
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=replies_lost requests=%u applied=yes", n->b.step < 0 ? g->n : 1);
    if (n->b.step >= 0) {
        if (g->item[n->b.step].odd)
            item_error(n, g, (unsigned)n->b.step, ODD_REPLY, sizeof ODD_REPLY - 1);
        n->w->stats.uncertain += !g->item[n->b.step].own && !g->item[n->b.step].out;
        stepped(n, g);
        return;
    }
    if (settle_items(n, g) > 0) {
        n->b.resend = true; /* with the questions alone, and the same positions */
        n->w->stats.retries++;
        return;
    }
    committed(n, g);
}

void groups_forget(struct node *n)
{
    struct groups *b = &n->b;
    group_clear(n, b->building);
    if (b->flying != NULL && b->resend) {
        group_clear(n, b->flying);
        b->flying = NULL;
        b->resend = false;
    }
    b->dirty = b->save_now = false;
}
