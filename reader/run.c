#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"

#define RESTARTS_MAX 20
#define COME         US /* for a parser to come to the control socket once it could know of it */

static void restart(struct session *s)
{
    struct source *src = s->stream.source;
    s->restart_wanted = false;
    if (s->stream.state != STREAM_RUNS)
        return;
    if (++s->stream.restarts > RESTARTS_MAX) {
        session_fail(s, EXIT_RETRY, "the session was begun anew %d times without coming to an end",
                     RESTARTS_MAX);
        return;
    }
    src->kind->close(src);
    stream_close_flows(&s->stream);
    messages_forget_positions(&s->control);
    session_begin(s);
}

/* ---- the end ---- */

/* Of a file, where no parser has come to the control socket: may one still come? A short file is read before
 * dfparse has asked what the target is. Not to a file, and not long after the first bytes were taken: SESSION
 * is among them. */
static bool may_come(struct session *s, uint64_t now)
{
    const struct output *out = &s->stream.out;
    if (s->control.ever[ROLE_PARSER] > 0 || !output_is_channel(out))
        return false;
    if (s->came_at == 0 && output_taken(out))
        s->came_at = now;
    return s->came_at == 0 ? us_since(now, s->stream.flushed_at) < QUIET_PEERS
                           : us_since(now, s->came_at) < COME;
}

/* A writer still confirms what it applies, or a parser has yet to see so many flows synced. */
static bool peers_busy(const struct control *c, unsigned flows)
{
    const struct peer *p;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        if (!p->gone && (p->role == ROLE_WRITER || (p->role == ROLE_PARSER && p->nsynced < flows)))
            return true;
    }
    return false;
}

/* Not for ever: a shell that holds the pipe open behind our back (a wrapper of this process) keeps them
 * waiting for an end of file that comes only after us. What is not acknowledged any more is applied all the
 * same. */
static bool await_peers(struct session *s, uint64_t now)
{
    uint64_t since = s->heard_at > s->stream.flushed_at ? s->heard_at : s->stream.flushed_at;
    /* A parser of a file that was read to its end still has to hear what the target is. */
    bool parsers = s->complete && !s->stream.source->kind->live;
    if (!peers_busy(&s->control, parsers ? s->stream.info.flows : 0))
        return false;
    if (us_since(now, since) < QUIET_PEERS)
        return true;
    log_event(LOG_WARN, NO_FLOW, "event=peers_quiet seconds=%d", (int)(QUIET_PEERS / US));
    return false;
}

/* END is on its way, or has left. A failure has nothing to wait for. */
static void step_end(struct session *s, uint64_t now)
{
    struct stream *st = &s->stream;
    bool kept = st->keep_open;
    if (st->flushed_at != 0)
        st->keep_open = s->complete && may_come(s, now);
    st->more = st->more || kept != st->keep_open; /* the next turn has something to do at once */
    if (st->state != STREAM_ENDED || st->last || (s->orderly && !s->processes_told && await_peers(s, now)))
        return;
    if (s->orderly && s->o->session_only) { /* they close their own connections, and go */
        if (!s->processes_told) {
            flows_acknowledge(s, true);
            control_send_role(&s->control, ROLE_FLOW, "stop final=1");
            s->processes_told = true;
        }
        if (s->control.count[ROLE_FLOW] > 0)
            return;
    }
    flows_acknowledge(s, true);
    stream_finish(st);
}

/* ---- turns ---- */

static void say_parser_gone(struct session *s, uint64_t now)
{
    if (s->parser_gone_at == 0 || us_since(now, s->parser_gone_at) < US)
        return;
    log_event(LOG_WARN, NO_FLOW, "event=parser_gone phase=%s", session_phase(s));
    s->parser_gone_at = 0;
}

static void tick(struct session *s, uint64_t now)
{
    struct source *src = s->stream.source;
    session_flows_refresh(&s->flows, &s->stream);
    if (src->kind->live && !session_ending(s)) {
        health_check(s, now);
        session_check_pending(s, now);
    }
    if (!session_ending(s))
        say_parser_gone(s, now);
    if (src->kind->tick != NULL && !session_ending(s))
        src->kind->tick(src, now);
    flows_acknowledge(s, false);
    step_end(s, now);
    status_progress(s, now);
}

static void run(struct session *s)
{
    const struct source *src = s->stream.source;
    uint64_t ticked = 0;
    while (s->stream.state != STREAM_DONE) {
        int most = session_ending(s) ? LOOP_TICK / 10 : LOOP_TICK;
        stream_turn(&s->stream, src->kind->timeout != NULL ? src->kind->timeout(src, most) : most);
        if (s->listening)
            control_reap(&s->control);
        if (s->restart_wanted)
            restart(s);
        uint64_t now = mono_us();
        if (session_ending(s) || now - ticked >= US / 10) {
            ticked = now;
            tick(s, now);
        }
    }
}

/* ---- what the stream reports ---- */

static void on_up(void *ctx, struct flow *f)
{
    session_flow_up(ctx, f->id, f->partial);
}

static void on_lost(void *ctx, struct flow *f, const struct fault *why)
{
    struct session *s = ctx;
    bool refused = !session_ending(s) && f->refused && session_flow_refused(s);
    if (session_ending(s) || refused)
        log_event(LOG_INFO, (int)f->id, "event=flow_%s error=%s", refused ? "refused" : "closed",
                  log_quote(why->text, strlen(why->text)));
    else if (!s->restart_wanted)
        session_fail(s, why->status, "flow %u: %s (after %llu bytes)", f->id, why->text,
                     (unsigned long long)f->bytes);
}

static void on_bytes(void *ctx, struct flow *f)
{
    const struct session *s = ctx;
    struct source *src = s->stream.source;
    (void)f;
    if (src->kind->first_bytes != NULL)
        src->kind->first_bytes(src);
}

static void on_signal(void *ctx)
{
    session_asked_to_stop(ctx);
}

/* ---- all ---- */

/* The stream has begun, whatever becomes of the session: its END says it to the stages behind us. */
static void begin(struct session *s)
{
    char why[300];
    s->listening =
        control_open(&s->control, &s->stream.loop, s->o->control, &messages, s, why, sizeof why) == 0;
    if (s->listening) {
        log_event(LOG_INFO, NO_FLOW, "event=listening control=%s", s->control.path);
    } else if (s->stream.source->kind->live || s->o->control != NULL) {
        session_fail(s, EXIT_CANNOT, "%s", why);
        return;
    } else {
        log_event(LOG_WARN, NO_FLOW, "event=no_control_socket error=%s note=%s", log_quote(why, strlen(why)),
                  "\"dfparse cannot know the target: give it --target-version\"");
    }
    s->stream.keep_open = s->listening && !s->stream.source->kind->live;
    session_begin(s);
}

int session_run(const struct options *o, const struct source_kind *kind)
{
    struct session *s = xcalloc(1, sizeof *s);
    struct stream_events events = {
        .ctx = s, .up = on_up, .lost = on_lost, .bytes = on_bytes, .asked_to_stop = on_signal};
    s->o = o;
    s->begun_at = mono_us();
    s->control.w.fd = -1;
    stream_open(&s->stream, o, kind, s, &events, o->session_only);
    if (s->stream.state != STREAM_DONE)
        begin(s);
    run(s);
    int status = stream_close(&s->stream);
    control_close(&s->control);
    stream_free(&s->stream);
    resume_free(&s->resume);
    session_flows_reset(&s->flows, 0);
    free(s);
    return status;
}
