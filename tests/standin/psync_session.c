/* PSYNC, acknowledgements, and the cuts between the recorded stages. */
#include "psync.h"

#include <string.h>
#include <strings.h>

#define TAIL "\r\n"

static bool is_follower(const struct psync_node *n, const struct conn *c)
{
    return opt.values_ports && c->listening == opt.values_port[n->index];
}

/* The wrong answer that is planned for this session, or NULL. */
static const struct wrong *wrong_of(uint32_t session)
{
    for (unsigned i = 0; i < opt.wrongs; i++)
        if (!opt.wrong[i].session || opt.wrong[i].session == session)
            return &opt.wrong[i];
    return NULL;
}

/* True if the stage's backlog holds what follows offset - 1, as a master checks it: id and range, nothing
 * else. */
static bool covers(const struct psync_node *n, const char *id, uint64_t offset)
{
    const struct psync_stage *s = &n->stage[n->now];
    const struct psync_history *h = &n->history[s->history];
    uint64_t first = h->start + 1;
    bool known = !strcasecmp(id, s->id) || (*s->id2 && !strcasecmp(id, s->id2) && offset <= s->second);
    if (opt.backlog_given && s->end - h->start > opt.backlog)
        first = s->end - opt.backlog + 1;
    return known && !opt.old_no_partial && offset >= first && offset <= s->end + 1;
}

static void full_reply(const struct psync_node *n, const struct conn *c, struct psync_reply *r)
{
    const struct psync_stage *s = &n->stage[n->now];
    const struct psync_history *h = &n->history[s->history];
    r->full = true;
    r->from = h->start;
    r->by_token = opt.form == FORM_RECORDED ? h->by_token : opt.form == FORM_TOKEN;
    if (!c->capa_eof)
        r->by_token = false;
    if (h->by_token)
        memcpy(r->token, h->token, sizeof r->token);
    else
        hex40(r->token, opt.seed, 0x746f6b656e);
    snprintf(r->text, sizeof r->text, "+FULLRESYNC %s %llu", s->id, (unsigned long long)h->start);
}

/* What PSYNC id offset is answered with. */
static void answer(const struct psync_node *n, const struct conn *c, const char *id, const char *offset,
                   struct psync_reply *r)
{
    const struct psync_stage *s = &n->stage[n->now];
    uint64_t at;
    if (!parse_u64(offset, &at) || !covers(n, id, at)) {
        full_reply(n, c, r);
        return;
    }
    r->from = at - 1;
    snprintf(r->text, sizeof r->text, "+CONTINUE%s%s", c->capa_psync2 ? " " : "",
             c->capa_psync2 ? s->id : "");
}

/* The recorded newlines, the reply, and the line that the transfer begins with. */
static void send_reply(struct conn *c, const struct psync_node *n, const struct psync_reply *r,
                       const struct wrong *wrong)
{
    const struct psync_history *h = &n->history[n->stage[n->now].history];
    unsigned before = r->full ? h->newlines / 2 : 0, after = r->full ? h->newlines - before : 0;
    while (before--)
        conn_reply(c, "\n");
    conn_reply(c, "%s" TAIL, r->text);
    while (after--)
        conn_reply(c, "\n");
    if (!r->full)
        return;
    if (wrong && wrong->transfer)
        conn_reply(c, "%s" TAIL, wrong->transfer);
    else if (r->by_token)
        conn_reply(c, "$EOF:%s" TAIL, r->token);
    else
        conn_reply(c, "$%zu" TAIL, h->rdb_len);
}

/* --cut-at, --cut-every: where this session's connection is cut, in bytes behind the reply; UINT64_MAX:
 * nowhere. */
static uint64_t planned_cut(const struct psync_node *n, uint32_t session, const struct psync_reply *r)
{
    const struct psync_history *h = &n->history[n->stage[n->now].history];
    uint64_t transfer = r->full ? h->rdb_len + (r->by_token ? TOKEN_LEN : 0) : 0;
    uint64_t rng = mix2(opt.seed, mix2(session, n->index)), best = UINT64_MAX;
    for (unsigned i = 0; i < opt.placed_cuts; i++) {
        const struct placed_cut *p = &opt.placed_cut[i];
        uint64_t at = UINT64_MAX;
        if (p->flow != n->index || (p->session && p->session != session))
            continue;
        if (p->place == PLACE_RDB)
            at = r->full ? 1 + rng % (h->rdb_len - 1) : UINT64_MAX;
        else if (p->place == PLACE_TOKEN)
            at = r->full && r->by_token ? h->rdb_len + 1 + rng % (TOKEN_LEN - 1) : UINT64_MAX;
        else if (history_place(h, p->place, r->from, rng))
            at = transfer + history_place(h, p->place, r->from, rng) - r->from;
        best = at < best ? at : best;
    }
    if (best == UINT64_MAX && opt.cut_max)
        best = transfer + opt.cut_min + rng % (opt.cut_max - opt.cut_min + 1);
    return best;
}

static void open_flow(struct master *m, struct conn *c, struct psync_node *n, const struct psync_reply *r,
                      const struct wrong *wrong)
{
    struct session *s = session_new(m, c);
    struct flow *f = grab(sizeof *f);
    s->ordinal = n->sessions;
    s->state = r->full ? FULL_SYNC : STABLE_SYNC;
    s->stable = !r->full || !r->by_token; /* else the stream waits for the first acknowledgement */
    f->conn = c;
    f->session = s;
    f->id = n->index;
    f->partial = !r->full;
    f->cut_sent = f->switch_sent = f->partial;
    f->rng = mix2(opt.seed, mix2(n->sessions, n->index));
    f->cut_at = planned_cut(n, n->sessions, r);
    f->source = psync_source(n, r, wrong, f->rng);
    f->origin = r->from;
    s->flow[f->id] = f;
    c->flow = f;
    log_event(m, c, "psync session=%u stage=%u reply=\"%s\"", n->sessions, n->now, r->text);
}

/* A Valkey 9 gives up if the replica does not say that it is as new and a hash has fields that expire. */
static bool valkey_gives_up(const struct master *m, const struct psync_node *n, const struct conn *c,
                            const struct psync_reply *r)
{
    const struct psync_history *h = &n->history[n->stage[n->now].history];
    return m->psync->valkey && r->full && c->capa_eof && c->version_major < 9 && !memcmp(h->rdb, "VALKEY", 6);
}

void psync_open(struct master *m, struct conn *c, const struct request *r)
{
    struct psync_node *n = &m->psync->node[c->node];
    struct psync_reply reply = {0};
    if (r->argc != 3) {
        conn_reply(c, "-ERR wrong number of arguments for 'psync' command" TAIL);
        return;
    }
    const struct wrong *wrong = wrong_of(++n->sessions);
    if (wrong && wrong->reply) {
        log_event(m, c, "wrong reply=\"%s\"", wrong->reply);
        conn_reply(c, "%s" TAIL, wrong->reply);
        return;
    }
    if (opt.uncut) /* all that the history has, under its last id */
        while (n->now + 1 < n->stages && n->stage[n->now + 1].history == n->stage[n->now].history)
            n->now++;
    answer(n, c, r->argv[1], r->argv[2], &reply);
    reply.follower = is_follower(n, c);
    if (valkey_gives_up(m, n, c, &reply)) {
        log_event(m, c, "refused what=\"REPLCONF version is too old for the RDB\"");
        conn_reply(c, "%s" TAIL, reply.text);
        c->quit = true;
        return;
    }
    send_reply(c, n, &reply, wrong);
    open_flow(m, c, n, &reply, wrong);
}

static void save_ack(struct master *m, struct psync_node *n, uint64_t offset)
{
    if (n->acked == offset)
        return;
    n->acked = offset;
    m->last_ack[n->index] = offset;
    if (m->psync->acks)
        fprintf(m->psync->acks, "%s %llu\n", n->lineage, (unsigned long long)offset);
}

static void check_expected(struct master *m, const struct conn *c)
{
    for (unsigned i = 0; i < m->nflows; i++)
        if (!opt.expect_acks || m->psync->node[i].acked != opt.expect_acks[i])
            return;
    log_event(m, c, "expected-acks-reached");
    m->stop = true;
    m->status = m->illegal ? 1 : 0;
}

/* What a correct replica never acknowledges.  One byte less than a boundary is the way of a replica that must
 * not be chosen by FAILOVER. */
static void check_ack(struct master *m, const struct conn *c, uint64_t offset)
{
    const struct flow *f = c->flow;
    const struct psync_node *n = &m->psync->node[c->node];
    const struct psync_history *h = &n->history[n->stage[n->now].history];
    unsigned long long sent = f->source->ops->next_lsn(f->source);
    if (!f->switch_sent)
        log_illegal(m, c, "ACK before the end of the transfer");
    if (f->acked && offset < f->last_ack)
        log_illegal(m, c, "ACK %llu after %llu", (unsigned long long)offset, (unsigned long long)f->last_ack);
    if (offset > sent)
        log_illegal(m, c, "ACK %llu, but only %llu was sent", (unsigned long long)offset, sent);
    if (offset > f->origin && !history_boundary(h, offset) && !history_boundary(h, offset + 1))
        log_illegal(m, c, "ACK %llu, which is within a command or a MULTI", (unsigned long long)offset);
}

void psync_ack(struct master *m, struct conn *c, uint64_t offset)
{
    struct flow *f = c->flow;
    if (!f->acked || offset != f->last_ack)
        log_event(m, c, "ack offset=%llu", (unsigned long long)offset);
    check_ack(m, c, offset);
    f->session->stable = true;
    f->session->state = STABLE_SYNC;
    f->acked = true;
    f->acks++;
    f->last_ack = offset;
    struct psync_node *n = &m->psync->node[c->node];
    if (is_follower(n, c)) {
        size_t len;
        const char *trim = psync_source_stopped(f->source, offset, &len);
        if (trim) {
            psync_trim(n, trim, len);
            psync_source_go_on(f->source);
        }
        n->acked_all |= offset == n->stage[n->stages - 1].end;
        return; /* it is ours, not what is tested */
    }
    save_ack(m, n, offset);
    check_expected(m, c);
}

static bool all_sent(const struct flow *f)
{
    return f->chunk_sent == f->chunk.len && f->source->ops->finished(f->source) && !f->conn->write_shut;
}

static void let_readers_go_on(struct master *m)
{
    for (struct conn *c = m->conns; c; c = c->next)
        if (c->held && !c->closed)
            conn_go_on(m, c);
}

void psync_tick(struct master *m)
{
    if (psync_settled(m))
        let_readers_go_on(m);
    for (struct session *s = m->sessions; s; s = s->next) {
        struct flow *f = s->control ? s->control->flow : NULL;
        if (s->ended || !f)
            continue;
        struct psync_node *n = &m->psync->node[f->id];
        uint64_t sent = f->source->ops->next_lsn(f->source);
        n->sent = sent > n->sent ? sent : n->sent;
        if (!all_sent(f) || n->now + 1 == n->stages)
            continue;
        n->now++;
        log_event(m, f->conn, "recorded-cut stage=%u", n->now);
        conn_shut(f->conn);
    }
}
