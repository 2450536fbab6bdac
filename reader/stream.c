#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "meta.h"

#define ACK_STEP     US        /* between two acknowledgements */
#define LAST_ACK     (US / 10) /* for the source to read the last acknowledgements */
#define LAST_CLOSE   (US / 2)  /* for it to close its side */
#define CHECK_SHORT  256
#define REREAD_GRACE (10 * US) /* for keys that a parser still waits for */

/* ---- flows ---- */

void stream_close_flows(struct stream *st)
{
    for (unsigned i = 0; i < st->n; i++) {
        st->source->kind->flow_close(&st->flows[i]);
        st->flows[i].state = FLOW_DOWN;
    }
}

void stream_set_flows(struct stream *st, unsigned first, unsigned n)
{
    stream_close_flows(st);
    free(st->flows);
    st->flows = n > 0 ? xcalloc(n, sizeof *st->flows) : NULL;
    st->first = first;
    st->n = n;
    st->cursor = 0;
    for (unsigned i = 0; i < n; i++)
        st->flows[i] = (struct flow){.id = first + i, .stream = st};
}

void stream_open_flow(struct stream *st, struct flow *f, const struct flow_from *from)
{
    *f = (struct flow){.id = f->id, .stream = st, .state = FLOW_OPENING, .from = *from};
    st->source->kind->flow_open(f);
}

void flow_up(struct flow *f)
{
    struct stream *st = f->stream;
    f->state = FLOW_UP;
    f->moved_at = mono_us();
    /* Where flows are to go on, that is decided when the answers to all of them are known; and records of one
     * may not come before the FLOW records of the others. */
    if (f->from.pos > 0 || f->member || stream_announce_flow(f, FORM_FULL) == 0)
        st->events->up(st->events->ctx, f);
}

void flow_lost(struct flow *f, const struct fault *why)
{
    struct stream *st = f->stream;
    if (f->state == FLOW_LOST || f->state == FLOW_DOWN)
        return;
    st->source->kind->flow_close(f);
    f->state = FLOW_LOST;
    st->events->lost(st->events->ctx, f, why);
}

/* Read once into one DATA record, or into nothing. Returns false when the output failed. */
static bool read_flow(struct stream *st, struct flow *f, bool discard)
{
    long n = st->source->kind->flow_read(f, output_room(&st->out), DATA_MAX);
    if (n <= 0)
        return true;
    f->moved_at = mono_us();
    if (!f->announced && !discard)
        st->events->bytes(st->events->ctx, f);
    if (!f->announced && !discard) {
        struct fault why;
        fault_set(&why, EXIT_RETRY, "bytes of a partial sync before it was started");
        flow_lost(f, &why);
        return true;
    }
    uint64_t pos = f->bytes;
    f->bytes += (uint64_t)n;
    return discard || output_data(&st->out, f->id, st->info.epoch, pos, (size_t)n) == 0;
}

static bool readable(const struct stream *st, const struct flow *f)
{
    return f->state == FLOW_UP && (f->announced || f->early) && st->source->kind->flow_readable(f);
}

/* Read the flows that have something, one record each and in turn. Returns true when there is more to read at
 * once. */
static bool read_flows(struct stream *st)
{
    const struct source_kind *kind = st->source->kind;
    bool discard = stream_ending(st);
    bool more = !discard && kind->work != NULL && kind->work(st->source);
    if (st->state == STREAM_STOPPING)
        return more; /* what was read last must not bring further requests */
    for (unsigned k = 0; k < st->n; k++) {
        struct flow *f = &st->flows[st->cursor];
        unsigned next = st->cursor + 1 < st->n ? st->cursor + 1 : 0;
        if (readable(st, f)) {
            if (!discard && output_full(&st->out))
                return false; /* the output says when to go on, and the cursor where */
            st->cursor = next;
            if (!read_flow(st, f, discard))
                return false;
            if (stream_ending(st) != discard)
                return true; /* this flow was the last, or lost, and with it the session */
            more = more || readable(st, f);
        } else {
            st->cursor = next;
        }
    }
    return more && (discard || !output_full(&st->out));
}

void stream_acknowledge(struct stream *st, uint64_t now, bool at_once)
{
    const struct source_kind *kind = st->source->kind;
    for (unsigned i = 0; kind->flow_acknowledge != NULL && i < st->n; i++) {
        struct flow *f = &st->flows[i];
        if (f->state != FLOW_UP || f->applied <= f->acked ||
            (!at_once && f->acked_at != 0 && now - f->acked_at < ACK_STEP))
            continue;
        if (kind->flow_acknowledge(f, f->applied) <= 0)
            continue;
        f->acked = f->applied;
        f->acked_at = now;
        log_event(LOG_DEBUG, (int)f->id, "event=ack position=%llu", (unsigned long long)f->acked);
    }
}

/* ---- records ---- */

int stream_announce(struct stream *st)
{
    struct buf b = {.max = 4096};
    sessinfo_format(&st->info, &b, '\n');
    int rc = output_meta(&st->out, REC_SESSION, st->first, st->info.epoch, &b);
    buf_free(&b);
    return rc;
}

int stream_announce_flow(struct flow *f, enum flow_form form)
{
    static const char *const modes[] = {"FULL", "PARTIAL", "PARTIAL", "FILE"};
    struct stream *st = f->stream;
    struct buf b = {.max = 1024};
    bool partial = form == FORM_JOURNAL || form == FORM_SNAPSHOT;
    const struct lineage *lineage =
        st->source->kind->flow_lineage != NULL ? st->source->kind->flow_lineage(f) : &st->info.lineage;
    if (f->announced)
        return 0;
    f->announced = true;
    meta_addu(&b, "flow", f->id);
    meta_adds(&b, "mode", modes[form]);
    if (partial) {
        meta_addu(&b, "lsn", f->from.pos);
        meta_adds(&b, "form", form == FORM_JOURNAL ? "journal" : "snapshot");
    } else if (f->begins > 0) {
        meta_addu(&b, "lsn", f->begins);
    }
    if ((form == FORM_FULL || form == FORM_SNAPSHOT) && f->token[0] != '\0')
        meta_adds(&b, "token", f->token);
    if (lineage != &st->info.lineage)
        lineage_add(&b, lineage, '\n');
    meta_addu(&b, "db", 0);
    int rc = output_meta(&st->out, REC_FLOW, f->id, st->info.epoch, &b);
    buf_free(&b);
    return rc;
}

int stream_announce_lineage(struct flow *f)
{
    struct stream *st = f->stream;
    struct buf b = {.max = 1024};
    meta_addu(&b, "flow", f->id);
    meta_adds(&b, "mode", "LINEAGE");
    lineage_add(&b, st->source->kind->flow_lineage(f), '\n');
    int rc = output_meta(&st->out, REC_FLOW, f->id, st->info.epoch, &b);
    buf_free(&b);
    return rc;
}

/* A short one leaves the room for DATA alone: it may come between the reading of a flow and its record. */
static int put_text(struct stream *st, enum rec_type type, unsigned flow, const struct buf *text)
{
    if (text->len <= CHECK_SHORT)
        return output_meta(&st->out, type, flow, st->info.epoch, text);
    memcpy(output_room(&st->out), text->p, text->len);
    return output_put(&st->out, (struct rec){.len = (uint32_t)text->len,
                                             .type = (uint8_t)type,
                                             .flow = (uint16_t)flow,
                                             .epoch = st->info.epoch,
                                             .time = now_us()});
}

int stream_slots(struct stream *st, unsigned flow, const struct buf *text)
{
    return put_text(st, REC_SLOTS, flow, text);
}

int stream_commands(struct stream *st, const struct buf *text)
{
    return put_text(st, REC_COMMANDS, st->first, text);
}

int stream_check(struct stream *st, unsigned flow, const struct buf *text)
{
    return put_text(st, REC_CHECK, flow, text);
}

static void write_end(struct stream *st, const char *reason, const char *message)
{
    struct buf b = {.max = 3072};
    bool live = st->source->kind->live;
    meta_adds(&b, "reason", reason);
    meta_addu(&b, "status", (uint64_t)st->status);
    if (live && strcmp(reason, "complete") == 0)
        meta_addu(&b, "partial", 1); /* the flows were left where they happened to be read to */
    if (message[0] != '\0')
        meta_adds(&b, "message", message);
    meta_addu(&b, "n.bytes", st->out.bytes);
    meta_addu(&b, "n.records", st->out.records);
    if (live && !st->one_flow) {
        meta_addu(&b, "n.flows", st->info.flows);
        meta_addu(&b, "n.restarts", st->restarts);
    }
    if (!st->out.dead)
        (void)output_meta(&st->out, REC_END, st->first, st->info.epoch > 0 ? st->info.epoch : 1,
                          &b); /* a failure is noticed in the next turn */
    buf_free(&b);
}

/* ---- the end ---- */

static unsigned rereads(const struct stream *st)
{
    const struct source *src = st->source;
    return src->kind->rereads != NULL ? src->kind->rereads(src) : 0;
}

static void note_signals(struct stream *st)
{
    st->signals_before = signals_seen();
    if (st->signals_before < st->signals_free)
        st->signals_before = st->signals_free;
}

static void end(struct stream *st, const char *reason, int status, const char *message)
{
    const struct source_kind *kind = st->source->kind;
    st->state = STREAM_ENDING;
    st->status = status;
    note_signals(st);
    if (kind->drop_rereads != NULL)
        kind->drop_rereads(st->source);
    write_end(st, reason, message);
}

void stream_stop(struct stream *st, const char *reason, int status)
{
    if (st->state != STREAM_RUNS)
        return;
    if (rereads(st) == 0) {
        end(st, reason, status, "");
        return;
    }
    st->state = STREAM_STOPPING;
    st->status = status;
    st->since = mono_us();
    note_signals(st);
    strlcpy(st->reason, reason, sizeof st->reason);
}

void stream_fail(struct stream *st, enum log_level level, const char *reason, int status, char *text)
{
    if (stream_ending(st))
        return;
    log_clean(text);
    log_event(level, st->one_flow ? (int)st->first : NO_FLOW, "event=failed status=%d error=\"%s\"", status,
              text);
    st->source->kind->close(st->source);
    stream_close_flows(st);
    end(st, reason, status, text);
}

static void check_rereads(struct stream *st, uint64_t now)
{
    bool late = us_since(now, st->since) >= REREAD_GRACE;
    unsigned left = rereads(st);
    if (!late && left > 0)
        return;
    if (left > 0)
        log_event(LOG_WARN, st->one_flow ? (int)st->first : NO_FLOW, "event=rereads_given_up requests=%u",
                  left);
    end(st, st->reason, st->status, "");
}

/* The stages behind us end with the stream, not with this process. */
static void close_output(struct stream *st, uint64_t now)
{
    if (!output_flushed(&st->out))
        return;
    if (st->flushed_at == 0)
        st->flushed_at = now;
    if (st->keep_open && !st->out.dead)
        return;
    output_close(&st->out);
    st->state = STREAM_ENDED;
}

static void begin_linger(struct stream *st, uint64_t now)
{
    bool any = false;
    stream_acknowledge(st, now, true);
    for (unsigned i = 0; i < st->n; i++)
        any = any || (st->flows[i].state == FLOW_UP && st->flows[i].acked > 0);
    st->state = any ? STREAM_LINGER : STREAM_DONE;
    st->since = now;
}

static void linger(struct stream *st, uint64_t now)
{
    bool up = false;
    if (us_since(now, st->since) < LAST_ACK)
        return;
    for (unsigned i = 0; i < st->n; i++) {
        if (st->flows[i].state == FLOW_UP && !st->finished)
            st->source->kind->flow_finish(&st->flows[i]);
        up = up || st->flows[i].state == FLOW_UP;
    }
    st->finished = true;
    if (!up || us_since(now, st->since) >= LAST_ACK + LAST_CLOSE)
        st->state = STREAM_DONE;
}

static void check_end(struct stream *st, uint64_t now)
{
    if (st->state == STREAM_STOPPING)
        check_rereads(st, now);
    if (st->state == STREAM_ENDING)
        close_output(st, now);
    if (st->state == STREAM_ENDED && st->last)
        begin_linger(st, now);
    else if (st->state == STREAM_LINGER)
        linger(st, now);
}

/* ---- failures and signals ---- */

static void check_output(struct stream *st)
{
    int status;
    char text[160];
    bool dead = st->out.dead;
    if ((!dead && st->out.spill_error == 0) || st->reported || (stream_ending(st) && !st->out.lost))
        return; /* once END is delivered its reader may go */
    if (!dead && stream_ending(st))
        return;
    const char *why = dead ? output_report(&st->out, st->one_flow ? (int)st->first : NO_FLOW, &status)
                           : output_fault(&st->out, &status);
    st->reported = true;
    if (st->events->failed != NULL)
        st->events->failed(st->events->ctx, status, why);
    if (dead) {
        st->status = exit_worse(st->status, status);
        st->state = STREAM_DONE;
        return;
    }
    strlcpy(text, why, sizeof text);
    stream_fail(st, LOG_ERROR, "error", status, text);
}

/* The first signal is a request to stop, one more ends at once. */
static void check_signals(struct stream *st)
{
    unsigned n = signals_seen();
    if (n > 0 && !st->asked_to_stop && !stream_ending(st)) {
        st->asked_to_stop = true;
        st->events->asked_to_stop(st->events->ctx);
    }
    if (n <= st->signals_before || st->state == STREAM_DONE)
        return;
    bool whole = stream_ending(st) && output_flushed(&st->out) && !st->out.dead;
    if (!whole && st->status == EXIT_DONE)
        st->status = st->source->kind->live ? EXIT_RETRY : EXIT_PARTIAL;
    log_event(LOG_WARN, st->one_flow ? (int)st->first : NO_FLOW, "event=ended_at_once stream=%s",
              whole ? "whole" : "cut-short");
    st->state = STREAM_DONE;
}

/* ---- all ---- */

void stream_open(struct stream *st, const struct options *o, const struct source_kind *kind,
                 struct session *s, const struct stream_events *events, bool none)
{
    st->o = o;
    st->events = events;
    st->signals_before = 1;
    st->more = true; /* a file is there to be read */
    loop_init(&st->loop);
    st->source = kind->create(st, s);
    if (none)
        output_none(&st->out);
    else
        st->status = output_open(&st->out, &st->loop, o);
    if (st->status != EXIT_DONE) {
        st->state = STREAM_DONE;
        return;
    }
    fatal_stream(-1, KIND_RAW);
    if (output_stream(&st->out) < 0)
        check_output(st);
}

void stream_turn(struct stream *st, int timeout_ms)
{
    uint64_t begun = mono_us();
    bool behind = !output_flushed(&st->out);
    loop_wait(&st->loop, st->more ? 0 : timeout_ms);
    *(behind ? &st->waited.output : &st->waited.input) += mono_us() - begun;
    st->more = read_flows(st);
    check_output(st);
    check_signals(st);
    check_end(st, mono_us());
}

int stream_close(struct stream *st)
{
    st->source->kind->close(st->source);
    stream_set_flows(st, 0, 0);
    output_close(&st->out);
    if (st->out.dead)
        check_output(st);
    output_free(&st->out);
    st->source->kind->free(st->source);
    return st->status;
}

void stream_free(struct stream *st)
{
    loop_free(&st->loop);
}
