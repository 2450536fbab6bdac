#include "hold.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../side_ask.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"

#define DROP_MS 300

static bool holds_writes(const struct side *s)
{
    unsigned version;
    return s->kind != SERVER_REDIS || !server_version_parse(s->version, &version) || version >= VERSION(6, 2);
}

void hold_init(struct hold *h, struct side *s)
{
    *h = (struct hold){.side = s, .all = !holds_writes(s)};
    h->look = xcalloc(s->nodes, sizeof *h->look);
    for (unsigned i = 0; i < s->nodes; i++) {
        struct hold_look *l = &h->look[i];
        const struct endpoint *at = &s->node[i].at;
        snprintf(l->address, sizeof l->address, at->port[0] != '\0' ? "%s:%s" : "%s%s", at->host, at->port);
        l->at = xcalloc(HOLD_SHARDS, sizeof *l->at);
    }
}

void hold_free(struct hold *h)
{
    for (unsigned i = 0; i < h->side->nodes; i++)
        free(h->look[i].at);
    free(h->look);
}

/* ---- a round: the same request to every master, side by side ---- */

static void ask_words(struct hold *h, unsigned node, link_got *got, unsigned n, const char *const *word)
{
    struct link *l = side_lister(h->side, node);
    link_begin(l, n);
    for (unsigned i = 0; i < n; i++)
        link_str(l, word[i]);
    link_ask(l, KEEP_ALL, got, h, node);
    h->expects++;
}

#define ASK(h, node, got, ...)                                                                               \
    ask_words(h, node, got, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *),               \
              (const char *const[]){__VA_ARGS__})

static void await_round(struct hold *h)
{
    side_flush(h->side);
    while (h->expects > 0) {
        loop_wait(h->side->loop, LOOP_TICK);
        side_check(h->side, mono_us(), (uint64_t)side_timeout(h->side) * 1000);
        if (signals_seen() > 0)
            fatal(EXIT_PARTIAL, "stopped");
    }
}

static void refuse_error(const struct hold *h, unsigned node, const char *what, const struct reply *r)
{
    if (r->e[0].type == REPLY_ERROR)
        link_refused(side_lister(h->side, node), what, r, &r->e[0]);
}

/* ---- looking ---- */

static uint64_t info_number(const struct reply *r, const char *name)
{
    char text[32];
    return info_field(r, name, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

static void take_info(struct hold_look *l, const struct reply *r)
{
    char text[32];
    if (!info_field(r, "role", l->role, sizeof l->role))
        l->role[0] = '\0';
    if (!info_field(r, "master_replid", l->replid[0], sizeof l->replid[0]))
        l->replid[0][0] = '\0';
    if (!info_field(r, "master_replid2", l->replid[1], sizeof l->replid[1]) ||
        strspn(l->replid[1], "0") == strlen(l->replid[1]))
        l->replid[1][0] = '\0';
    l->clients = info_number(r, "connected_clients");
    l->used_memory = info_number(r, "used_memory");
    l->max_memory = info_number(r, "maxmemory");
    l->knows_changes = info_field(r, "rdb_changes_since_last_save", text, sizeof text) ||
                       info_field(r, "rdb_changes_since_last_success_save", text, sizeof text);
    l->changes = l->knows_changes ? strtoull(text, NULL, 10) : 0;
    l->saved = info_number(r, "rdb_last_save_time") + info_number(r, "last_success_save");
}

static void got_info(void *ctx, struct reply *r, uint32_t node)
{
    struct hold *h = ctx;
    struct hold_look *l = &h->look[node];
    refuse_error(h, node, "INFO", r);
    take_info(l, r);
    if (h->side->kind != SERVER_DRAGONFLY) {
        char text[32];
        if (!info_field(r, "master_repl_offset", text, sizeof text))
            fatal(EXIT_CANNOT, "%s: INFO does not say how far its stream is", l->address);
        l->at[0] = strtoull(text, NULL, 10);
        l->n = 1;
    }
    h->expects--;
}

static void got_positions(void *ctx, struct reply *r, uint32_t node)
{
    struct hold *h = ctx;
    struct hold_look *l = &h->look[node];
    refuse_error(h, node, "DFLY REPLICAOFFSET", r);
    if (r->e[0].type != REPLY_ARRAY || r->e[0].n == 0 || r->e[0].n > HOLD_SHARDS || r->n != r->e[0].n + 1)
        fatal(EXIT_CANNOT, "%s: DFLY REPLICAOFFSET: not understood", l->address);
    l->n = (unsigned)r->e[0].n;
    for (unsigned i = 0; i < l->n; i++)
        l->at[i] = r->e[i + 1].type == REPLY_INT ? r->e[i + 1].n : 0;
    h->expects--;
}

/* Behind whatever was asked before. */
static void ask_look(struct hold *h, unsigned node)
{
    if (h->side->kind == SERVER_DRAGONFLY)
        ASK(h, node, got_positions, "DFLY", "REPLICAOFFSET");
    ASK(h, node, got_info, "INFO");
}

void hold_look(struct hold *h)
{
    for (unsigned i = 0; i < h->side->nodes; i++)
        ask_look(h, i);
    await_round(h);
}

/* ---- holding ---- */

static void got_paused(void *ctx, struct reply *r, uint32_t node)
{
    struct hold *h = ctx;
    refuse_error(h, node, "CLIENT PAUSE", r);
    h->expects--;
}

static void ask_pause(struct hold *h, unsigned node)
{
    char ms[24];
    snprintf(ms, sizeof ms, "%llu", (unsigned long long)(h->span / 1000));
    ASK(h, node, got_paused, "CLIENT", "PAUSE", ms, "WRITE");
}

/* Queued, or MULTI's OK. */
static void got_queued(void *ctx, struct reply *r, uint32_t node)
{
    struct hold *h = ctx;
    refuse_error(h, node, "MULTI", r);
    h->expects--;
}

/* EXEC: [OK, INFO's text]. */
static void got_both(void *ctx, struct reply *r, uint32_t node)
{
    struct hold *h = ctx;
    refuse_error(h, node, "EXEC", r);
    size_t pause = reply_child(r, 0, 0), info = reply_child(r, 0, 1);
    if (info >= r->n || r->e[pause].type == REPLY_ERROR || r->e[info].type != REPLY_TEXT)
        link_refused(side_lister(h->side, node), "CLIENT PAUSE", r, &r->e[pause < r->n ? pause : 0]);
    struct elem first = r->e[0];
    r->e[0] = r->e[info];
    got_info(h, r, node); /* which counts the reply */
    r->e[0] = first;
}

/* Where a paused server answers nothing, it is asked in the same moment. */
static void ask_pause_all(struct hold *h, unsigned node)
{
    char ms[24];
    snprintf(ms, sizeof ms, "%llu", (unsigned long long)(h->span / 1000));
    ASK(h, node, got_queued, "MULTI");
    ASK(h, node, got_queued, "CLIENT", "PAUSE", ms);
    ASK(h, node, got_queued, "INFO");
    ASK(h, node, got_both, "EXEC");
}

void hold_begin(struct hold *h, unsigned ms)
{
    uint64_t now = mono_us();
    h->span = (uint64_t)ms * 1000;
    h->held = true; /* from here on something may have to be taken back */
    h->lapsed = false;
    h->until = now + h->span;
    h->renew_at = h->all ? UINT64_MAX : now + h->span / 4;
    for (unsigned i = 0; i < h->side->nodes; i++) {
        if (h->all) {
            ask_pause_all(h, i);
        } else {
            ask_pause(h, i);
            ask_look(h, i);
        }
    }
    await_round(h);
    h->lapsed = mono_us() > h->until;
}

void hold_renew(struct hold *h)
{
    uint64_t now = mono_us();
    for (unsigned i = 0; i < h->side->nodes; i++)
        ask_pause(h, i);
    await_round(h);
    /* When the last one was told is not known, but that it was before its reply came. */
    if (mono_us() > h->until)
        h->lapsed = true;
    h->until = now + h->span;
    h->renew_at = now + h->span / 4;
}

void hold_end(struct hold *h)
{
    if (!h->held)
        return;
    h->held = false;
    for (unsigned i = 0; !h->all && i < h->side->nodes; i++)
        ASK(h, i, got_paused, "CLIENT", "UNPAUSE");
    await_round(h);
}

/* Read on until the server has closed it, or it says nothing for long: unread replies would reset the
 * connection, and with it what was sent last. */
static void drain(struct transport *t)
{
    char text[4096];
    uint64_t end = mono_us() + DROP_MS * 1000;
    t->finish(t);
    for (;;) {
        uint64_t now = mono_us();
        if (now >= end)
            return;
        ssize_t n = t->read(t, text, sizeof text);
        if (n == 0)
            return;
        struct pollfd p = {.fd = t->fd, .events = POLLIN};
        if (n < 0 && poll(&p, 1, (int)((end - now) / 1000) + 1) <= 0)
            return;
    }
}

void hold_drop(struct hold *h)
{
    static const char text[] = "*2\r\n$6\r\nCLIENT\r\n$7\r\nUNPAUSE\r\n";
    if (!h->held || h->all)
        return;
    h->held = false;
    for (unsigned i = 0; i < h->side->nodes; i++) {
        struct link *l = side_lister(h->side, i);
        /* In the midst of a request it would be taken for a part of it. */
        if (l->out.len == 0)
            (void)transport_send(&l->t, text, sizeof text - 1, DROP_MS);
    }
    for (unsigned i = 0; i < h->side->nodes; i++)
        drain(&side_lister(h->side, i)->t);
}
