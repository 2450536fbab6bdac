#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "tls.h"

#define IN_SIZE  ((size_t)64 << 10)
#define OUT_KEEP ((size_t)128 << 10)

static void lost(const struct link *l, const char *why)
{
    fatal(EXIT_CANNOT, "%s: %s%s%s", l->name, why, l->loss != NULL ? ": " : "",
          l->loss != NULL ? l->loss : "");
}

/* ---- requests ---- */

static void full(const struct link *l)
{
    lost(l, "too much waits to be sent");
}

void link_begin(struct link *l, size_t argc)
{
    if (resp_add_array(&l->out, argc) < 0)
        full(l);
}

void link_arg(struct link *l, const void *p, size_t n)
{
    if (resp_add_bulk(&l->out, p, n) < 0)
        full(l);
}

void link_str(struct link *l, const char *s)
{
    link_arg(l, s, strlen(s));
}

void link_num(struct link *l, int64_t v)
{
    if (resp_add_num(&l->out, v) < 0)
        full(l);
}

static void grow_due(struct link *l)
{
    size_t cap = l->due_cap == 0 ? 256 : l->due_cap * 2;
    struct link_due *d = xcalloc(cap, sizeof *d);
    for (size_t i = 0; i < l->due_n; i++)
        d[i] = l->due[(l->due_at + i) % l->due_cap];
    free(l->due);
    l->due = d;
    l->due_cap = cap;
    l->due_at = 0;
}

void link_ask(struct link *l, enum reply_keep keep, link_got *got, void *ctx, uint32_t tag)
{
    if (l->due_n == l->due_cap)
        grow_due(l);
    if (l->due_n == 0)
        l->heard_at = mono_us();
    l->due[(l->due_at + l->due_n++) % l->due_cap] =
        (struct link_due){.got = got, .ctx = ctx, .tag = tag, .keep = (uint8_t)keep};
    l->ops++;
}

static void got_select(void *ctx, struct reply *r, uint32_t tag)
{
    struct link *l = ctx;
    (void)tag;
    if (r->e[0].type == REPLY_ERROR)
        link_refused(l, "SELECT", r, &r->e[0]);
}

void link_select(struct link *l, uint32_t db)
{
    if (l->db == db)
        return;
    link_begin(l, 2);
    link_str(l, "SELECT");
    link_num(l, db);
    link_ask(l, KEEP_BEGIN, got_select, l, 0);
    l->db = db;
}

void link_flush(struct link *l)
{
    if (l->out.len == 0 && l->t.read_wants_out && l->t.write(&l->t, "", 0) < 0 && errno != EAGAIN)
        lost(l, transport_reason(&l->t));
    size_t at = 0;
    while (at < l->out.len) {
        ssize_t n = l->t.write(&l->t, l->out.p + at, l->out.len - at);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n == 0 || errno != EINTR)
            lost(l, transport_reason(&l->t));
    }
    buf_shift(&l->out, at);
    buf_trim(&l->out, OUT_KEEP);
}

/* ---- replies ---- */

static void deliver(struct link *l)
{
    struct link_due d = l->due[l->due_at];
    l->due_at = (l->due_at + 1) % l->due_cap;
    l->due_n--;
    l->begun = false;
    d.got(d.ctx, &l->reply, d.tag);
}

static void take(struct link *l)
{
    while (l->in_at < l->in_end) {
        size_t taken;
        if (l->due_n == 0)
            lost(l, "it says something that nobody asked for");
        if (!l->begun)
            reply_begin(&l->reply, (enum reply_keep)l->due[l->due_at].keep);
        l->begun = true;
        int rc = reply_feed(&l->reply, l->in + l->in_at, l->in_end - l->in_at, &taken);
        l->in_at += taken;
        if (rc < 0)
            lost(l, l->reply.fault);
        if (rc == 0)
            break;
        deliver(l);
    }
    if (l->in_at > 0)
        memmove(l->in, l->in + l->in_at, l->in_end - l->in_at);
    l->in_end -= l->in_at;
    l->in_at = 0;
}

/* Returns whether there may be more. */
static bool receive(struct link *l)
{
    size_t room = IN_SIZE - l->in_end;
    ssize_t n = l->t.read(&l->t, l->in + l->in_end, room);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0)
        lost(l, n == 0 ? "it closed the connection" : transport_reason(&l->t));
    l->in_end += (size_t)n;
    l->bytes += (size_t)n;
    l->heard_at = mono_us();
    take(l);
    return (size_t)n == room;
}

static void ready(struct watch *w, uint32_t events)
{
    struct link *l = w->ctx;
    if ((events & EPOLLOUT) != 0 || l->t.write_wants_in)
        link_flush(l);
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 || l->t.read_wants_out)
        while (receive(l))
            ;
    link_flush(l);
}

void link_check(const struct link *l, uint64_t now, uint64_t silence)
{
    if (l->due_n > 0 && us_since(now, l->heard_at) > silence)
        lost(l, "it does not answer");
}

void link_refused(const struct link *l, const char *what, const struct reply *r, const struct elem *e)
{
    fatal(EXIT_CANNOT, "%s: %s: %.*s", l->name, what, (int)e->kept, (const char *)elem_text(r, e));
}

/* ---- opening ---- */

void link_open(struct link *l, struct loop *loop, const struct endpoint *at, const struct tls *tls,
               const char *label, int timeout_ms)
{
    char why[400];
    *l = (struct link){.loop = loop};
    snprintf(l->name, sizeof l->name, at->port[0] != '\0' ? "%s %s:%s" : "%s %s%s", label, at->host,
             at->port);
    log_clean(l->name);
    if (transport_connect(&l->t, at, tls, timeout_ms, why, sizeof why, NULL) < 0)
        fatal(signals_seen() > 0 ? EXIT_PARTIAL : EXIT_CANNOT, "%s: %s", label, why);
    l->out.max = BUF_DEFAULT_MAX;
    l->in = xmalloc(IN_SIZE);
    reply_init(&l->reply);
    l->w = (struct watch){.fd = -1, .ready = ready, .ctx = l};
    if (loop_add(loop, &l->w, l->t.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != 0)
        fatal_errno(EXIT_CANNOT, "cannot watch a socket");
}

void link_close(struct link *l)
{
    if (l->in == NULL)
        return;
    loop_del(l->loop, &l->w);
    l->t.close(&l->t);
    buf_free(&l->out);
    reply_free(&l->reply);
    free(l->in);
    free(l->due);
    l->in = NULL;
}

static void got_awaited(void *ctx, struct reply *r, uint32_t tag)
{
    bool *done = ctx;
    (void)r;
    (void)tag;
    *done = true;
}

struct reply *link_wait(struct link *l, enum reply_keep keep, int timeout_ms)
{
    bool done = false;
    link_ask(l, keep, got_awaited, &done, 0);
    link_flush(l);
    while (!done) {
        loop_wait(l->loop, LOOP_TICK);
        link_check(l, mono_us(), (uint64_t)timeout_ms * 1000);
        if (signals_seen() > 0)
            fatal(EXIT_PARTIAL, "stopped");
    }
    return &l->reply;
}
