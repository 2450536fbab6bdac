/*
 * Sends a flow's bytes, as the socket takes them and as the planned misbehaviour allows.
 * Nothing is buffered but the chunk that the source has handed out.
 */
#include "standin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TURN_BYTES   ((size_t)1 << 20) /* then the other flows have their turn */
#define SLOW_TICK_US 5000
#define FILLER_PAD   4096u

void flow_free(struct flow *f)
{
    if (!f)
        return;
    f->source->ops->close(f->source);
    buf_free(&f->filler);
    free(f);
}

const struct fault *fault_find(enum fault_kind kind, uint32_t flow, uint32_t session, uint64_t from)
{
    const struct fault *best = NULL;
    for (unsigned i = 0; i < opt.faults; i++) {
        const struct fault *f = &opt.fault[i];
        if (f->kind != kind || f->flow != flow || (f->session && f->session != session))
            continue;
        if (f->at >= from && (!best || f->at < best->at))
            best = f;
    }
    return best;
}

static const struct fault *flow_fault(const struct flow *f, enum fault_kind kind, uint64_t from)
{
    return fault_find(kind, f->id, f->session->ordinal, from);
}

/* Does what is planned for this offset.  True: nothing more is to be sent. */
static bool fault_due(struct master *m, struct flow *f)
{
    const struct fault *x;
    if (f->cut_at && f->sent == f->cut_at) {
        conn_close(m, f->conn, "planned cut");
        return true;
    }
    if ((x = flow_fault(f, FAULT_CUT, f->sent)) && x->at == f->sent) {
        conn_close(m, f->conn, "planned cut");
        return true;
    }
    if ((x = flow_fault(f, FAULT_STALL, f->sent)) && x->at == f->sent) {
        log_event(m, f->conn, "stalled bytes=%llu", (unsigned long long)f->sent);
        return f->stalled = true;
    }
    if ((x = flow_fault(f, FAULT_TRUNCATE, f->sent)) && x->at == f->sent) {
        log_event(m, f->conn, "truncated bytes=%llu", (unsigned long long)f->sent);
        f->conn->write_shut = true;
        shutdown(f->conn->fd, SHUT_WR);
        return f->truncated = true;
    }
    return false;
}

/* No write may pass an offset where something is planned. */
static size_t fault_limit(const struct flow *f, size_t n)
{
    for (unsigned kind = FAULT_CUT; kind <= FAULT_TRUNCATE; kind++) {
        const struct fault *x = flow_fault(f, (enum fault_kind)kind, f->sent + 1);
        if (x && x->at - f->sent < n)
            n = (size_t)(x->at - f->sent);
    }
    if (f->cut_at > f->sent && f->cut_at - f->sent < n)
        n = (size_t)(f->cut_at - f->sent);
    return n;
}

static size_t slow_limit(struct master *m, struct flow *f, int64_t now_us, size_t n)
{
    if (!opt.slow)
        return n;
    if (!f->budget_at)
        f->budget_at = now_us;
    double earned = (double)(now_us - f->budget_at) * (double)opt.slow / 1e6;
    if (earned >= 1) {
        uint64_t cap = opt.slow / 10 + 1; /* an idle flow saves up a tenth of a second */
        f->budget += (uint64_t)earned;
        if (f->budget > cap)
            f->budget = cap;
        f->budget_at = now_us;
    }
    if (f->budget < n)
        n = (size_t)f->budget;
    if (n == 0)
        wake_at(m, now_us + SLOW_TICK_US);
    return n;
}

static size_t split_limit(struct flow *f, size_t n)
{
    if (!opt.split_max)
        return n;
    f->rng = mix64(f->rng);
    size_t piece = (size_t)(opt.split_min + f->rng % (opt.split_max - opt.split_min + 1));
    return piece < n ? piece : n;
}

/* While STARTSTABLE is held back the flow goes on with journal blobs that mean nothing to a
 * replica (SCRIPT FLAGS is to be ignored), so that one that does not read is found out. */
static bool next_filler(struct master *m, struct flow *f, int64_t now_us)
{
    struct words w = {0};
    char pad[FILLER_PAD + 1];
    if (!f->session->starting || f->session->stable || opt.never_startstable || f->partial)
        return false;
    if (!opt.filler_rate || !f->source->ops->between_entries(f->source))
        return false;
    if (f->filler_at == 0)
        f->filler_at = now_us;
    wake_at(m, f->filler_at);
    if (now_us < f->filler_at)
        return false;
    memset(pad, 'x', FILLER_PAD);
    pad[FILLER_PAD] = '\0';
    words_set(&w, 4,
              (const char *const[]){"SCRIPT", "FLAGS", "0000000000000000000000000000000000000000", pad});
    f->filler.len = 0;
    journal_blob(&f->filler, 0, &w);
    f->filler_at += (int64_t)((double)f->filler.len * 1e6 / (double)opt.filler_rate) + 1;
    f->chunk = (struct chunk){f->filler.p, f->filler.len, 0};
    f->chunk_sent = 0;
    return true;
}

/* The socket has taken all of the chunk: at once, since a fast replica answers before we look again. */
static void chunk_delivered(struct master *m, struct flow *f)
{
    if ((f->chunk.flags & CHUNK_CUT) && !f->cut_sent) {
        f->cut_sent = true;
        log_event(m, f->conn, "cut-sent bytes=%llu blocked_ms=%lld", (unsigned long long)f->sent,
                  (long long)(f->blocked_total / 1000));
    }
    if (f->chunk.flags & CHUNK_SWITCH)
        f->switch_sent = true;
}

static bool next_chunk(struct master *m, struct flow *f, int64_t now_us)
{
    int64_t wake = NEVER;
    if (f->chunk.len == 0)
        chunk_delivered(m, f); /* one without bytes */
    f->chunk = (struct chunk){0};
    f->chunk_sent = 0;
    enum phase phase = f->session->stable ? PHASE_STABLE : PHASE_SNAPSHOT;
    if (f->source->ops->next(f->source, phase, now_us, &f->chunk, &wake))
        return true;
    wake_at(m, wake);
    return next_filler(m, f, now_us);
}

static void flow_blocked(struct master *m, struct flow *f, int64_t now_us)
{
    f->blocked = true;
    f->blocked_since = now_us;
    if (opt.replication_timeout)
        wake_at(m, now_us + (int64_t)opt.replication_timeout * 1000);
    conn_arm(m, f->conn, true);
}

/* Sends up to n bytes of the chunk; the number sent, 0 if blocked or gone. */
static size_t send_some(struct master *m, struct flow *f, int64_t now_us, size_t n)
{
    const uint8_t *p = f->chunk.p + f->chunk_sent;
    const struct fault *x = flow_fault(f, FAULT_CORRUPT, f->sent);
    uint8_t byte;
    if (x && x->at == f->sent) {
        byte = *p ^ x->xor ;
        p = &byte;
        n = 1;
    }
    ssize_t w = send(f->conn->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (w < 0 && errno == EINTR)
        w = 0;
    if (w < 0 && errno == EAGAIN) {
        flow_blocked(m, f, now_us);
        return 0;
    }
    if (w < 0) {
        conn_close(m, f->conn, strerror(errno));
        return 0;
    }
    if (x && x->at == f->sent && w == 1)
        log_event(m, f->conn, "corrupted offset=%llu", (unsigned long long)f->sent);
    f->chunk_sent += (size_t)w;
    f->sent += (uint64_t)w;
    f->conn->sent += (uint64_t)w;
    if (f->chunk_sent == f->chunk.len)
        chunk_delivered(m, f);
    if (opt.slow)
        f->budget -= (uint64_t)w;
    return (size_t)w;
}

/* True: the flow may not send now. */
static bool flow_waits(struct master *m, struct flow *f, int64_t now_us)
{
    const struct session *s = f->session;
    if (f->conn->closed || f->stalled || f->truncated || f->conn->write_shut)
        return true;
    if (f->blocked) {
        int64_t limit = f->blocked_since + (int64_t)opt.replication_timeout * 1000;
        if (!opt.replication_timeout)
            return true;
        wake_at(m, limit);
        if (now_us < limit)
            return true;
        conn_close(m, f->conn, "replication timeout: the flow is not read");
        return true;
    }
    if (f->conn->out.len && !conn_flush(m, f->conn))
        return true; /* the FLOW reply goes first */
    return s->state == PREPARATION && !s->stable;
}

bool flow_pump(struct master *m, struct flow *f, int64_t now_us)
{
    size_t turn = 0;
    if (flow_waits(m, f, now_us))
        return false;
    while (turn < TURN_BYTES) {
        if (fault_due(m, f))
            return false;
        while (f->chunk_sent == f->chunk.len)
            if (!next_chunk(m, f, now_us))
                return false;
        size_t n = split_limit(f, fault_limit(f, f->chunk.len - f->chunk_sent));
        n = slow_limit(m, f, now_us, n);
        if (n == 0)
            return false;
        size_t w = send_some(m, f, now_us, n);
        if (w == 0)
            return false;
        turn += w;
        if (opt.split_max)
            return true; /* one piece a turn, so that the reader may see it alone */
    }
    return true;
}
