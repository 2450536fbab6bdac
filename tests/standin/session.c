/* Sessions: one control connection and its flows; what ends one of them ends all. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

struct session *session_new(struct master *m, struct conn *control)
{
    struct session *s = grab(sizeof *s);
    s->flow = grab(m->nflows * sizeof(struct flow *));
    s->id = m->next_sync++;
    s->ordinal = ++m->sessions_started;
    s->control = control;
    s->next = m->sessions;
    m->sessions = s;
    if (control->session)
        control->session->control = NULL; /* orphaned, as in a real master */
    control->session = s;
    log_event(m, control, "session-start session=SYNC%u ordinal=%u", s->id, s->ordinal);
    return s;
}

struct session *session_find(struct master *m, unsigned id)
{
    for (struct session *s = m->sessions; s; s = s->next)
        if (s->id == id && !s->ended)
            return s;
    return NULL;
}

bool session_complete(const struct master *m, const struct session *s)
{
    for (unsigned i = 0; i < m->nflows; i++)
        if (!s->flow[i])
            return false;
    return true;
}

static void log_flow_end(struct master *m, const struct flow *f)
{
    int64_t blocked = f->blocked_total + (f->blocked ? clock_us() - f->blocked_since : 0);
    if (f->acked) {
        log_event(m, f->conn, "flow-end bytes=%llu blocked_ms=%lld acks=%llu last_ack=%llu",
                  (unsigned long long)f->sent, (long long)(blocked / 1000), (unsigned long long)f->acks,
                  (unsigned long long)f->last_ack);
    } else {
        log_event(m, f->conn, "flow-end bytes=%llu blocked_ms=%lld acks=0 last_ack=-",
                  (unsigned long long)f->sent, (long long)(blocked / 1000));
    }
}

void session_end(struct master *m, struct session *s, const char *why)
{
    if (s->ended)
        return;
    s->ended = true;
    for (unsigned i = 0; i < m->nflows; i++)
        if (s->flow[i])
            log_flow_end(m, s->flow[i]);
    log_event(m, s->control, "session-end session=SYNC%u why=\"%s\"", s->id, why);
    for (unsigned i = 0; i < m->nflows; i++)
        if (s->flow[i])
            conn_close(m, s->flow[i]->conn, "session ended");
    if (s->control)
        conn_close(m, s->control, "session ended");
}

void session_reap(struct master *m)
{
    for (struct session **at = &m->sessions; *at;) {
        struct session *s = *at;
        if (!s->ended) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        for (unsigned i = 0; i < m->nflows; i++)
            flow_free(s->flow[i]);
        free(s->flow);
        free(s);
    }
}

static void check_expected(struct master *m, const struct session *s)
{
    if (!opt.expect_acks)
        return;
    for (unsigned i = 0; i < m->nflows; i++) {
        const struct flow *f = s->flow[i];
        if (!f || !f->acked || f->last_ack != opt.expect_acks[i])
            return;
    }
    log_event(m, s->control, "expected-acks-reached");
    m->stop = true;
    m->status = m->illegal ? 1 : 0;
}

void session_ack(struct master *m, struct flow *f, uint64_t lsn)
{
    uint64_t next = f->source->ops->next_lsn(f->source);
    log_event(m, f->conn, "ack lsn=%llu", (unsigned long long)lsn);
    if (!f->session->stable)
        log_illegal(m, f->conn, "ACK before stable sync");
    if (f->acked && lsn < f->last_ack)
        log_illegal(m, f->conn, "ACK %llu after %llu", (unsigned long long)lsn,
                    (unsigned long long)f->last_ack);
    if (lsn > next)
        log_illegal(m, f->conn, "ACK %llu, but the next LSN is %llu", (unsigned long long)lsn,
                    (unsigned long long)next);
    f->acked = true;
    f->acks++;
    f->last_ack = lsn;
    m->last_ack[f->id] = lsn;
    check_expected(m, f->session);
}

void session_startstable(struct master *m, struct session *s)
{
    s->starting = true;
    m->omits += opt.omit && !s->flow[0]->partial ? opt.keys / opt.omit : 0;
    s->stable_at = opt.never_startstable ? NEVER : clock_us() + (int64_t)opt.startstable_delay * 1000;
    log_event(m, s->control, "startstable session=SYNC%u", s->id);
}

/* Answers STARTSTABLE once every flow has got its EOF token: as a real master, which writes them
 * all before it replies, and so waits for a replica that does not read its flows. */
static void session_advance(struct master *m, struct session *s, int64_t now_us)
{
    if (s->ended || !s->starting)
        return;
    if (!s->stable) {
        wake_at(m, s->stable_at);
        if (now_us < s->stable_at)
            return;
        s->stable = true;
    }
    for (unsigned i = 0; i < m->nflows; i++)
        if (!s->flow[i]->switch_sent)
            return;
    s->starting = false;
    s->state = STABLE_SYNC;
    log_event(m, s->control, "stable-sync session=SYNC%u", s->id);
    if (!s->control)
        return;
    conn_reply(s->control, "+OK\r\n");
    conn_flush(m, s->control);
    if (opt.lose_backlog && s->flow[0]->partial)
        session_end(m, s, "planned: an entry has left the backlog");
}

static void session_close_at_end(struct master *m, struct session *s)
{
    if (!opt.close_at_end || s->state != STABLE_SYNC || !s->control || s->control->write_shut)
        return;
    for (unsigned i = 0; i < m->nflows; i++) {
        const struct flow *f = s->flow[i];
        if (!f)
            continue; /* of another master */
        if (f->chunk_sent < f->chunk.len || !f->source->ops->finished(f->source))
            return;
    }
    log_event(m, s->control, "close-at-end session=SYNC%u", s->id);
    for (unsigned i = 0; i < m->nflows; i++)
        if (s->flow[i])
            conn_shut(s->flow[i]->conn);
    conn_shut(s->control);
}

bool sessions_pump(struct master *m, int64_t now_us)
{
    bool more = false;
    for (struct session *s = m->sessions; s; s = s->next) {
        session_advance(m, s, now_us);
        for (unsigned i = 0; i < m->nflows && !s->ended; i++)
            if (s->flow[i])
                more |= flow_pump(m, s->flow[i], now_us);
        session_advance(m, s, now_us);
        if (!s->ended)
            session_close_at_end(m, s);
    }
    return more;
}
