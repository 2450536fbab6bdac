/* DFLY FLOW, SYNC, STARTSTABLE, REPLICAOFFSET: the session's state machine as its peer sees it. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

#define INVALID_STATE "-ERR invalid state\r\n"
#define SYNTAX        "-ERR syntax error\r\n"

/* The session of a SYNC<n>, or NULL with an error answered. */
static struct session *find_session(struct master *m, struct conn *c, const char *text)
{
    uint64_t id;
    if (strncmp(text, "SYNC", 4) != 0 || !parse_u64(text + 4, &id) || id > UINT32_MAX) {
        log_illegal(m, c, "bad sync id");
        conn_reply(c, "-ERR bad sync id\r\n");
        return NULL;
    }
    struct session *s = session_find(m, (unsigned)id);
    if (s)
        return s;
    /* A session that we ended a moment ago is no fault of the replica. */
    if (id >= m->next_sync)
        log_illegal(m, c, "sync id that was never given out");
    else
        log_event(m, c, "refused what=\"session is over\"");
    conn_reply(c, "-ERR syncid not found\r\n");
    return NULL;
}

/* Element `flow` of lsn0-lsn1-...; 0 unless there are exactly as many as flows. */
static bool vector_lsn(const char *text, unsigned flows, unsigned flow, uint64_t *lsn)
{
    char number[24];
    for (unsigned i = 0; i < flows; i++) {
        size_t n = strcspn(text, "-");
        uint64_t value;
        if (n >= sizeof number)
            return false;
        memcpy(number, text, n);
        number[n] = '\0';
        if (!parse_u64(number, &value))
            return false;
        if (i == flow)
            *lsn = value;
        text += n;
        if ((i + 1 < flows) != (*text == '-'))
            return false;
        if (*text)
            text++;
    }
    return *text == '\0';
}

/* The optional arguments of FLOW.  False: an error has been answered. */
static bool flow_lsn(struct master *m, struct conn *c, const struct request *r, unsigned flow,
                     struct flow_start *start)
{
    if (r->argc == 5)
        return true;
    start->has_lsn = true;
    if (opt.resume_lost) {
        conn_reply(c, "-ERR syncid not found\r\n");
        return false;
    }
    if (opt.resume_error) {
        conn_reply(c, SYNTAX);
        return false;
    }
    if (r->argc == 6) {
        if (parse_u64(r->argv[5], &start->lsn))
            return true;
        conn_reply(c, "-ERR value is not an integer or out of range\r\n");
        return false;
    }
    if (!vector_lsn(r->argv[6], m->nflows, flow, &start->lsn)) {
        conn_reply(c, SYNTAX);
        return false;
    }
    /* Only the remembered previous master's LSNs mean anything here. */
    start->has_lsn = opt.last_master && !strcmp(r->argv[5], opt.last_master);
    return true;
}

static bool open_flow(struct master *m, struct session *s, struct conn *c, unsigned id,
                      struct flow_start *start)
{
    bool ok = m->capture ? capture_start(m->capture, s->ordinal, id, start)
              : m->live  ? live_start(m->live, s->ordinal, id, start)
                         : generator_start(m->generator, s->ordinal, id, start);
    if (!ok)
        return false;
    struct flow *f = grab(sizeof *f);
    f->conn = c;
    f->session = s;
    f->id = id;
    f->partial = start->partial;
    f->cut_sent = f->switch_sent = start->partial && !start->by_sync;
    f->source = start->source;
    f->rng = mix2(opt.seed, mix2(s->ordinal, id));
    f->by_sync = start->by_sync;
    s->flow[id] = f;
    c->flow = f;
    c->session = s;
    return true;
}

static void run_flow(struct master *m, struct conn *c, const struct request *r)
{
    uint64_t id;
    struct flow_start start = {0};
    if (r->argc < 5 || r->argc > 7) {
        conn_reply(c, SYNTAX);
        return;
    }
    if (strcmp(r->argv[2], m->replid) != 0) {
        log_illegal(m, c, "bad master id");
        conn_reply(c, "-ERR bad master id\r\n");
        return;
    }
    struct session *s = find_session(m, c, r->argv[3]);
    if (!s)
        return;
    if (!parse_u64(r->argv[4], &id) || id >= m->nflows) {
        log_illegal(m, c, "no such flow");
        conn_reply(c, "-ERR value is not an integer or out of range\r\n");
        return;
    }
    if (s->state != PREPARATION || s->starting || s->flow[id] || c == s->control) {
        log_illegal(m, c, "FLOW %s",
                    s->flow[id]       ? "twice"
                    : c == s->control ? "on the control connection"
                                      : "in a wrong state");
        conn_reply(c, INVALID_STATE);
        return;
    }
    if (!flow_lsn(m, c, r, (unsigned)id, &start))
        return;
    if (opt.has_full_flow && id == opt.full_flow)
        start.has_lsn = false;
    start.by_sync = opt.partial_by_sync;
    if (!open_flow(m, s, c, (unsigned)id, &start))
        return;
    if (opt.bad_token)
        start.token[0] = start.token[0] == '0' ? '1' : '0';
    conn_reply(c, "*2\r\n+%s\r\n+%s\r\n", start.partial ? "PARTIAL" : "FULL", start.token);
    log_event(m, c, "flow session=SYNC%u reply=%s", s->id, start.partial ? "PARTIAL" : "FULL");
}

static unsigned partial_flows(const struct master *m, const struct session *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->nflows; i++)
        n += s->flow[i] && s->flow[i]->partial;
    return n;
}

static void run_sync(struct master *m, struct conn *c, const struct request *r)
{
    struct session *s = find_session(m, c, r->argv[2]);
    if (!s)
        return;
    if (c != s->control)
        log_illegal(m, c, "SYNC on another connection than the session's");
    if (s->state != PREPARATION || !session_complete(m, s) || (partial_flows(m, s) && !opt.partial_by_sync) ||
        (partial_flows(m, s) % m->nflows != 0)) {
        log_illegal(m, c, "SYNC %s",
                    s->state != PREPARATION   ? "in a wrong state"
                    : !session_complete(m, s) ? "with missing flows"
                                              : "after PARTIAL");
        conn_reply(c, INVALID_STATE);
        return;
    }
    s->state = FULL_SYNC;
    conn_reply(c, "+OK\r\n");
    log_event(m, c, "full-sync session=SYNC%u", s->id);
}

static void run_startstable(struct master *m, struct conn *c, const struct request *r)
{
    struct session *s = find_session(m, c, r->argv[2]);
    if (!s)
        return;
    unsigned partial = partial_flows(m, s);
    const char *wrong = NULL;
    if (!session_complete(m, s))
        wrong = "with missing flows";
    else if (s->starting || s->state == STABLE_SYNC)
        wrong = "twice";
    else if (partial && partial < m->nflows)
        wrong = "with mixed FULL and PARTIAL: a real master would have crashed";
    else if (s->state == PREPARATION && !partial)
        wrong = "before SYNC";
    else if (s->state == PREPARATION && opt.partial_by_sync) {
        log_event(m, c, "refused what=\"STARTSTABLE before SYNC\"");
        conn_reply(c, INVALID_STATE);
        return;
    }
    if (c != s->control)
        log_illegal(m, c, "STARTSTABLE on another connection than the session's");
    if (wrong) {
        log_illegal(m, c, "STARTSTABLE %s", wrong);
        conn_reply(c, INVALID_STATE);
        return;
    }
    for (unsigned i = 0; i < m->nflows; i++)
        if (!s->flow[i]->cut_sent)
            log_illegal(m, c, "STARTSTABLE before flow %u was cut", i);
    session_startstable(m, s);
}

static void run_replicaoffset(struct master *m, struct conn *c)
{
    conn_reply(c, "*%u\r\n", m->nflows);
    for (unsigned i = 0; i < m->nflows; i++) {
        uint64_t lsn = m->capture ? capture_end_lsn(m->capture, i)
                       : m->live  ? live_next_lsn(m->live, i)
                                  : generator_next_lsn(m->generator, i);
        conn_reply(c, ":%llu\r\n", (unsigned long long)lsn);
    }
}

void dfly_run(struct master *m, struct conn *c, struct request *r)
{
    const char *sub = r->argc > 1 ? r->argv[1] : "";
    if (word_is(sub, "FLOW")) {
        run_flow(m, c, r);
    } else if (word_is(sub, "SYNC") && r->argc == 3) {
        run_sync(m, c, r);
    } else if (word_is(sub, "STARTSTABLE") && r->argc == 3) {
        run_startstable(m, c, r);
    } else if (word_is(sub, "REPLICAOFFSET") && r->argc == 2) {
        run_replicaoffset(m, c);
    } else if (word_is(sub, "EXPIRE") || word_is(sub, "THREAD")) {
        conn_reply(c, "+OK\r\n");
    } else if (word_is(sub, "TAKEOVER")) {
        log_illegal(m, c, "TAKEOVER: a migration never wants it");
        conn_reply(c, "-ERR Takeover failed!\r\n");
    } else {
        conn_reply(c, SYNTAX);
    }
}
