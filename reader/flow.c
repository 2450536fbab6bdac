#include "flow.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "handshake.h"
#include "io.h"
#include "log.h"
#include "meta.h"

#define RCVBUF   ((int)4 << 20)
#define ACK_STEP ((uint64_t)1000000) /* µs between two acknowledgements */

static void lose(struct flow *f, const struct fault *why)
{
    if (f->state == FLOW_LOST || f->state == FLOW_DOWN)
        return;
    link_close(&f->link);
    f->state = FLOW_LOST;
    f->observer->lost(f->observer->ctx, f, why);
}

/* The connection broke (errno). */
static void lose_link(struct flow *f)
{
    struct fault why;
    link_fault(&f->link, &why);
    lose(f, &why);
}

static int ask(struct flow *f)
{
    char id[16];
    snprintf(id, sizeof id, "%u", f->id);
    char lsn[24];
    snprintf(lsn, sizeof lsn, "%llu", (unsigned long long)f->ask.lsn);
    const char *args[7] = {"DFLY", "FLOW", f->info->replid, f->info->session, id, lsn};
    int n = f->ask.lsn > 0 ? 6 : 5;
    if (f->ask.lsn > 0 && f->ask.last != NULL) {
        args[5] = f->ask.last;
        args[6] = f->ask.vector;
        n = 7;
    }
    f->state = FLOW_ASKED;
    return link_request(&f->link, n, args);
}

/* "FULL" or "PARTIAL", and the EOF token. */
static int take_answer(struct flow *f, struct fault *why)
{
    const struct reply *r = &f->link.reply;
    if (handshake_flow(r, f->ask.lsn > 0, &f->partial, f->token, why) == 0)
        return 0;
    /* That the session is over, or nobody is let in now, says nothing about the LSN. */
    f->refused = f->ask.lsn > 0 && r->top.type == REDIS_REPLY_ERROR && why->status != EXIT_RETRY;
    return -1;
}

/* A reply of the handshake. Returns 0 to go on, -1 with why. */
static int take_reply(struct flow *f, struct fault *why)
{
    if (f->state == FLOW_AUTH) {
        if (!reply_is(&f->link.reply, "OK")) {
            fault_reply(why, "AUTH", &f->link.reply);
            return -1;
        }
        if (ask(f) == 0)
            return 0;
        link_fault(&f->link, why);
        return -1;
    }
    if (take_answer(f, why) < 0)
        return -1;
    if (f->partial && link_raw(&f->link, NULL, 0) > 0) {
        fault_set(why, EXIT_RETRY, "DFLY FLOW: bytes of a partial sync before it was started");
        return -1;
    }
    f->state = FLOW_UP;
    f->moved_at = mono_us();
    f->observer->up(f->observer->ctx, f);
    return 0;
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct flow *f = w->ctx;
    struct fault why = {.status = 0};
    if (link_events(&f->link, events) < 0) {
        lose_link(f);
        return;
    }
    while ((f->state == FLOW_AUTH || f->state == FLOW_ASKED) && f->link.readable) {
        int rc = link_reply(&f->link, &why);
        if (rc == 0)
            return;
        if (rc < 0 || take_reply(f, &why) < 0) {
            lose(f, &why);
            return;
        }
    }
}

void flow_start(struct flow *f, unsigned id, struct loop *loop, const struct url *url,
                const struct link *like, const struct sessinfo *info, const struct flow_ask *question,
                int timeout_ms, const struct flow_observer *observer)
{
    memset(f, 0, sizeof *f);
    f->id = id;
    f->url = url;
    f->info = info;
    f->observer = observer;
    if (question != NULL)
        f->ask = *question;
    f->link.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = f};
    f->state = FLOW_AUTH;
    struct fault why;
    int opened = like != NULL ? link_open_like(&f->link, loop, like, RCVBUF, &why)
                              : link_open(&f->link, loop, url, timeout_ms, RCVBUF, &why);
    if (opened < 0) {
        if (why.status == EXIT_CANNOT)
            why.status = EXIT_RETRY; /* the control connection went through: it is not the environment */
        lose(f, &why);
        return;
    }
    int rc = send_auth(&f->link, url);
    if (rc == 0)
        rc = ask(f);
    if (rc < 0)
        lose_link(f);
}

void flow_stop(struct flow *f)
{
    link_close(&f->link);
    f->state = FLOW_DOWN;
}

/* Bytes that came in one read with the reply are the first of the flow. Spec pitfall 33. */
static int forward_leftover(struct flow *f, struct output *out)
{
    size_t n = link_raw(&f->link, output_room(out), DATA_MAX);
    if (n == 0)
        return 0;
    f->bytes = n;
    return output_data(out, f->id, f->info->epoch, 0, n);
}

int flow_announce(struct flow *f, struct output *out, enum flow_form form)
{
    struct buf b = {.max = 1024};
    if (f->announced)
        return 0;
    f->announced = true;
    meta_addu(&b, "flow", f->id);
    meta_adds(&b, "mode", form == FORM_FULL ? "FULL" : "PARTIAL");
    if (form != FORM_FULL) {
        meta_addu(&b, "lsn", f->ask.lsn);
        meta_adds(&b, "form", form == FORM_JOURNAL ? "journal" : "snapshot");
    }
    if (form != FORM_JOURNAL)
        meta_adds(&b, "token", f->token);
    meta_addu(&b, "db", 0);
    int rc = output_meta(out, REC_FLOW, f->id, f->info->epoch, &b);
    buf_free(&b);
    return rc < 0 || form != FORM_FULL ? rc : forward_leftover(f, out);
}

bool flow_read(struct flow *f, struct output *out, bool discard)
{
    long n = link_read(&f->link, output_room(out), DATA_MAX);
    if (n < 0) {
        lose_link(f);
        return true;
    }
    if (n == 0)
        return true;
    f->moved_at = mono_us();
    if (!f->announced && !discard)
        f->observer->bytes(f->observer->ctx, f);
    if (!f->announced && !discard) {
        struct fault why;
        fault_set(&why, EXIT_RETRY, "bytes of a partial sync before it was started");
        lose(f, &why);
        return true;
    }
    uint64_t pos = f->bytes;
    f->bytes += (uint64_t)n;
    return discard || output_data(out, f->id, f->info->epoch, pos, (size_t)n) == 0;
}

void flow_ack(struct flow *f, uint64_t now, bool at_once)
{
    /* With one still unsent the newer ones can wait: of positions the newest wins. */
    if (f->state != FLOW_UP || f->applied <= f->acked || f->link.out.len > 0)
        return;
    if (!at_once && f->acked_at != 0 && now - f->acked_at < ACK_STEP)
        return;
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)f->applied);
    const char *const args[] = {"REPLCONF", "ACK", number};
    if (link_request(&f->link, 3, args) < 0) {
        lose_link(f);
        return;
    }
    f->acked = f->applied;
    f->acked_at = now;
    log_event(LOG_DEBUG, (int)f->id, "event=ack position=%s", number);
}

void flow_shutdown(struct flow *f)
{
    if (f->state == FLOW_UP)
        f->link.t.finish(&f->link.t);
}
